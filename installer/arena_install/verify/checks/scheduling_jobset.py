"""Suite scheduling, JobSet: its Jobs find each other by name, and the set ends when its workers have."""

from __future__ import annotations

from arena_install.verify import pods
from arena_install.verify.checks import jobs
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

_GROUP = "jobset.x-k8s.io/v1alpha2"
_NAME = "pair"
_WORKERS = 2
_LEADER = f"{_NAME}-leader-0-0.{_NAME}"
_SERVE = "mkdir /tmp/www && echo leader-of-$JOBSET >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
_ASK = f"""
try=0
while [ $try -lt 60 ]; do
    try=$((try + 1))
    if said=$(wget -q -T 2 -O - http://{_LEADER}:8080/ 2>/dev/null); then echo "heard $said"; exit 0; fi
    sleep 1
done
echo "{_LEADER} did not answer"; exit 1
"""


@check(
    "scheduling.jobset",
    "A JobSet's Jobs find each other and end together",
    proves="a leader and its workers start as one set, workers reach the leader by name, and their end ends the set",
    needs=("cluster.dns", "cluster.network", "component:jobset"),
    timeout=240,
    writes=True,
)
def jobset(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    jobs.submit(ctx, "jobsets", _GROUP, _manifest(ctx))
    jobs.finish(ctx, "jobsets", _GROUP, _NAME, ended=ended, controller="jobset-system/jobset-controller")
    names = [pod["metadata"]["name"] for pod in pods.found(ctx, namespace) if "-workers-" in pod["metadata"]["name"]]
    heard = {name: ctx.kube.logs(namespace, name).strip() for name in sorted(names)}
    jobs.remove(ctx, "jobsets", _GROUP, _NAME)
    expected = f"{_WORKERS} workers hear the leader by the name {_LEADER}, then the set is complete"
    deaf = [f"{name}: {said or 'said nothing'}" for name, said in heard.items() if said != f"heard leader-of-{_NAME}"]
    if deaf or len(heard) != _WORKERS:
        return failed(
            expected, f"{len(heard) - len(deaf)} of {_WORKERS} heard it",
            cause="\n".join(deaf) or f"{len(heard)} workers were made", fix="see the pods' logs in the evidence",
        )  # fmt: skip
    return passed(expected, f"{len(heard)} workers heard it, the set completed")


def ended(state: Object) -> str:
    if jobs.condition(state, "Completed"):
        return "done"
    bad = jobs.condition(state, "Failed")
    return str(bad.get("message") or "failed") if bad else ""


def _manifest(ctx: Context) -> Object:
    def job(name: str, script: str, count: int) -> Object:
        part = jobs.template(ctx, name, pods.BUSYBOX, ["sh", "-c", script])
        part["spec"]["containers"][0]["env"] = [{"name": "JOBSET", "value": _NAME}]
        spec = {"parallelism": count, "completions": count, "backoffLimit": 0, "template": part}
        return {"name": name, "replicas": 1, "template": {"spec": spec}}

    return {
        "apiVersion": _GROUP,
        "kind": "JobSet",
        "metadata": {"name": _NAME, "labels": pods.own_labels(ctx)},
        "spec": {
            "failurePolicy": {"maxRestarts": 0},
            "successPolicy": {"operator": "All", "targetReplicatedJobs": ["workers"]},
            "replicatedJobs": [job("leader", _SERVE, 1), job("workers", _ASK, _WORKERS)],
        },
    }
