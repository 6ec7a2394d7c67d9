"""Suite scheduling, MPI: ranks really run in the workers' pods, on several nodes, and sum a vector rightly.

An MPIJob can succeed with every rank on the launcher (Open MPI 5 does not read the operator's variables): so each rank
says where it is, and that must be a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from arena_install.verify import pods
from arena_install.verify.checks import jobs
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.needs import CONTROL_PLANE
from arena_install.verify.records import records
from arena_install.verify.registry import check

GROUP = "kubeflow.org/v2beta1"
_NAME = "allreduce"
_WORKERS, _SLOTS = 2, 2
_LAUNCHER = "training.kubeflow.org/job-role"
#: Open MPI 5 is told here what the operator says in variables of version 4.
_MPIRUN = (
    "mpirun", "--hostfile", "/etc/mpi/hostfile", "--prtemca", "prte_keep_fqdn_hostnames", "1",
    "--prtemca", "plm_ssh_args", "-o ConnectionAttempts=10", "-np", str(_WORKERS * _SLOTS),
)  # fmt: skip


@check(
    "scheduling.mpi",
    "MPI ranks run in the workers and sum rightly",
    proves="mpirun starts every rank by SSH in a worker's pod, never on the launcher, and an allreduce gives the sum",
    needs=("cluster.dns", "cluster.network", "component:mpi-operator"),
    timeout=300,
    writes=True,
)
def mpi(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    payload = ctx.session.workspaces.payload(namespace)
    jobs.submit(ctx, "mpijobs", GROUP, manifest(ctx, _NAME, ["python3", "/payload/allreduce.py"], payload=payload))
    jobs.finish(ctx, "mpijobs", GROUP, _NAME, ended=ended, controller="mpi-operator/mpi-operator")
    there = pods.found(ctx, namespace)
    launchers = [pod["metadata"]["name"] for pod in there if pod["metadata"]["labels"].get(_LAUNCHER) == "launcher"]
    nodes = {
        pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
        for pod in there
        if pod["metadata"]["labels"].get(_LAUNCHER) == "worker"
    }
    ranks = [record for name in launchers for record in records(ctx.kube.logs(namespace, name), "rank")]
    ctx.save("ranks.json", ranks)
    jobs.remove(ctx, "mpijobs", GROUP, _NAME)
    spread = min(_WORKERS, sum(_takes_jobs(node) for node in ctx.session.nodes()))
    return judged(ranks, nodes, spread)


def judged(ranks: list[dict[str, Any]], nodes: dict[str, str], spread: int) -> Outcome:
    """nodes: worker's pod -> its node. spread: how many nodes the workers should be on."""
    world = _WORKERS * _SLOTS
    where = Counter(str(record["pod"]) for record in ranks)
    used = sorted({nodes[pod] for pod in where if pod in nodes})
    problems = []
    if sorted(record["rank"] for record in ranks) != list(range(world)):
        problems.append(f"{len(ranks)} ranks reported, not one for each of 0 to {world - 1}")
    if strangers := sorted(set(where) - set(nodes)):
        problems.append(f"ranks ran on {', '.join(strangers)}, which is no worker")
    problems += [f"{pod} ran {where[pod]} ranks, it has {_SLOTS} slots" for pod in nodes if where[pod] != _SLOTS]
    problems += [f"rank {r['rank']}: {r['wrong']} wrong sums" for r in ranks if r["wrong"] or r["size"] != world]
    if not problems and len(used) < spread:
        problems.append(f"all workers ran on {', '.join(used)}: nothing went over the network")
    expected = f"{world} ranks, {_SLOTS} in each of {_WORKERS} workers on {spread} nodes, and the sum of all in each"
    observed = ", ".join(f"{pod}: {count} ranks" for pod, count in sorted(where.items())) or "no rank reported"
    data = {"ranks": len(ranks), "pods": dict(where), "nodes": used}
    if problems:
        return failed(
            expected, observed, cause="\n".join(problems), data=data,
            fix="see the launcher's log in the evidence; with Open MPI 5 mpirun needs --hostfile /etc/mpi/hostfile",
        )  # fmt: skip
    return passed(expected, f"{observed}, on {', '.join(used)}", data=data)


def ended(state: Object) -> str:
    if jobs.condition(state, "Succeeded"):
        return "done"
    bad = jobs.condition(state, "Failed")
    return str(bad.get("message") or "failed") if bad else ""


def _takes_jobs(node: Object) -> bool:
    return CONTROL_PLANE not in (node["metadata"].get("labels") or {}) or not node["spec"].get("taints")


def manifest(ctx: Context, name: str, command: Sequence[str], *, payload: str = "", retries: int = 0) -> Object:
    """An MPIJob whose ranks run this. payload: ConfigMap that is mounted at /payload. retries: of the launcher."""
    launcher = jobs.template(ctx, "launcher", pods.MPI, [*_MPIRUN, *command], payload=payload)
    worker = jobs.template(
        ctx, "worker", pods.MPI, ["/usr/sbin/sshd", "-D", "-e", "-f", "/home/mpi/sshd_config"], payload=payload
    )
    worker["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 2222}, "periodSeconds": 1}
    labels = {**worker["metadata"]["labels"], _LAUNCHER: "worker"}
    worker["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }
    ]
    for part in (launcher, worker):
        part["spec"].pop("restartPolicy")
    return {
        "apiVersion": GROUP,
        "kind": "MPIJob",
        "metadata": {"name": name, "labels": pods.own_labels(ctx)},
        "spec": {
            "slotsPerWorker": _SLOTS,
            "sshAuthMountPath": "/home/mpi/.ssh",
            "launcherCreationPolicy": "WaitForWorkersReady",
            "runPolicy": {"cleanPodPolicy": "None", "backoffLimit": retries},
            "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "restartPolicy": "Never", "template": launcher},
                "Worker": {"replicas": _WORKERS, "restartPolicy": "Never", "template": worker},
            },
        },
    }
