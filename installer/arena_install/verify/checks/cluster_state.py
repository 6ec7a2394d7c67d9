"""Suite cluster, the part that the API alone tells: nodes report in time and take pods, nothing dies again and again,
webhooks answer, kinds refuse what they should."""

from __future__ import annotations

import base64
import binascii
import warnings
from datetime import UTC, datetime
from typing import Any

from arena_install.errors import TimedOutError
from arena_install.verify.checks import platform
from arena_install.verify.context import Context
from arena_install.verify.kube import ApiError, Object, namespaced, segment, when
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

_SKEW = 3.0  # seconds; the server's mark on a lease is a whole second
_CALM = 60.0  # seconds for which nothing may have restarted
_PATIENCE = 75.0  # seconds that a pod which restarted just now is given to calm down
_UNDER_PRESSURE = "node.kubernetes.io/"
_BAD = "arena-install-must-be-refused"


@check(
    "cluster.leases",
    "Nodes report in time, by the right time",
    proves="each kubelet renews its lease as often as it should, and its clock agrees with the API server's",
    needs=("cluster.nodes-ready",),
    timeout=30,
)
def leases(ctx: Context) -> Outcome:
    found = {
        lease["metadata"]["name"]: lease
        for lease in ctx.kube.items(namespaced("leases", "kube-node-lease", group="coordination.k8s.io/v1"))
    }
    names = [node["metadata"]["name"] for node in ctx.session.nodes()]
    now = ctx.kube.now()
    rows = {name: lease_row(found.get(name), now) for name in names}
    ctx.save("leases.json", rows)
    problems = [f"{name}: {problem}" for name, row in rows.items() if (problem := lease_problem(row))]
    expected = f"{len(names)} leases renewed within their time, clocks within {_SKEW:g} s of the API server's"
    if problems:
        first = problems[0].partition(":")[0]
        fix = f"on host {first}: systemctl status kubelet; timedatectl; journalctl -u kubelet -n 50"
        return failed(
            expected,
            f"{len(problems)} of {len(names)} leases are not as they should be",
            cause="\n".join(problems),
            fix=fix,
        )
    oldest = max((row["age"] for row in rows.values()), default=0.0)
    apart = max((abs(row["ahead"]) for row in rows.values()), default=0.0)
    return passed(
        expected, f"{len(names)} leases, the oldest {oldest:.0f} s old; clocks within {max(1.0, apart):.0f} s"
    )


def lease_row(lease: Object | None, now: float) -> dict[str, float]:
    """Seconds: age and duration of a node's lease, and by how much the kubelet's clock is ahead of the API server's.

    A lease says when the kubelet thinks it renewed it, and the server notes in it when it took that.
    """
    if lease is None:
        return {}
    renewed = when(lease["spec"]["renewTime"])
    taken = max(
        (when(field["time"]) for field in lease["metadata"].get("managedFields") or () if "time" in field),
        default=renewed,
    )
    # the server's mark is cut to the second: anything from it to a second later is the same time
    ahead = renewed - taken if renewed < taken else max(0.0, renewed - taken - 1)
    return {
        "age": round(now - taken, 1),
        "duration": float(lease["spec"]["leaseDurationSeconds"]),
        "ahead": round(ahead, 2),
    }


def lease_problem(row: dict[str, float]) -> str:
    if not row:
        return "it has no lease"
    if row["age"] > row["duration"]:
        return f"renewed {row['age']:.0f} s ago, it is good for {row['duration']:.0f} s"
    if abs(row["ahead"]) > _SKEW:
        return f"its clock is {abs(row['ahead']):.1f} s {'ahead of' if row['ahead'] > 0 else 'behind'} the API server's"
    return ""


@check(
    "cluster.taints",
    "Nodes take pods",
    proves="no node is cordoned, or kept from pods by a taint that Kubernetes sets when something is wrong",
    needs=("cluster.nodes-ready",),
    timeout=30,
)
def taints(ctx: Context) -> Outcome:
    nodes = ctx.session.nodes()
    rows = {node["metadata"]["name"]: node["spec"].get("taints") or [] for node in nodes}
    ctx.save("taints.json", rows)
    problems = [
        (
            name,
            f"{name} has {taint['key']}:{taint['effect']}"
            + (f" since {taint['timeAdded']}" if "timeAdded" in taint else ""),
        )
        for name, found in rows.items()
        for taint in found
        if taint["key"].startswith(_UNDER_PRESSURE)
    ]
    expected = f"no taint {_UNDER_PRESSURE}* on any node; the site's own are its own affair"
    if problems:
        name = problems[0][0]
        fix = f"kubectl uncordon {name}" if "unschedulable" in problems[0][1] else f"kubectl describe node {name}"
        return failed(
            expected, f"{len(problems)} taints keep pods away", cause="\n".join(line for _, line in problems), fix=fix
        )
    kept = sorted({f"{taint['key']}:{taint['effect']}" for found in rows.values() for taint in found})
    return passed(expected, f"{len(nodes)} nodes take pods" + (f"; taints {', '.join(kept)}" if kept else ""))


@check(
    "cluster.restarts",
    "Nothing of the platform keeps dying",
    proves="no container of the platform's pods has restarted for a minute, watched until that holds",
    needs=("cluster.system-pods",),
    timeout=120,
)
def restarts(ctx: Context) -> Outcome:
    expected = f"no restart within {_CALM:.0f} s"
    seen: list[list[str]] = []

    def look() -> int | None:
        found = platform.pods(ctx)
        now = ctx.kube.now()
        recent = [line for pod in found for line in recent_restarts(pod, now)]
        seen.append(recent)
        return None if recent else sum(_count(pod) for pod in found)

    try:
        total = ctx.wait(look, "the platform's pods to stay up for a minute", seconds=_PATIENCE, every=5)
    except TimedOutError:
        platform.save(ctx, [pod for pod in platform.pods(ctx) if _count(pod)])
        space, _, rest = seen[-1][0].partition("/")
        fix = f"kubectl -n {space} logs {rest.split()[0].rstrip(':')} --previous"
        return failed(expected, f"{len(seen[-1])} containers restarted just now", cause="\n".join(seen[-1]), fix=fix)
    return passed(expected, f"none within {_CALM:.0f} s; {total} since the pods were made", data={"restarts": total})


def _count(pod: Object) -> int:
    return sum(status.get("restartCount", 0) for status in pod["status"].get("containerStatuses") or [])


def recent_restarts(pod: Object, now: float) -> list[str]:
    """Containers of a pod that ended within the last minute and were started again, one line each."""
    lines = []
    for status in pod["status"].get("containerStatuses") or []:
        ended = (status.get("lastState") or {}).get("terminated") or {}
        if ended.get("finishedAt") and now - when(ended["finishedAt"]) < _CALM:
            meta = pod["metadata"]
            lines.append(
                f"{meta['namespace']}/{meta['name']}: {status['name']} ended with {ended.get('exitCode')} "
                f"{now - when(ended['finishedAt']):.0f} s ago, {status.get('restartCount')} restarts in all"
            )
    return lines


@check(
    "cluster.webhooks",
    "Admission webhooks answer",
    proves="each service that the API asks before it takes an object has ready endpoints, answers, and a CA that holds",
    needs=("cluster.nodes-ready",),
    timeout=60,
)
def webhooks(ctx: Context) -> Outcome:
    hooks: list[tuple[str, Object]] = []
    for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        for row in ctx.kube.items(f"/apis/admissionregistration.k8s.io/v1/{kind}"):
            hooks += [(f"{row['metadata']['name']} {hook['name']}", hook) for hook in row.get("webhooks") or ()]
    for crd in ctx.kube.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
        conversion = (crd["spec"].get("conversion") or {}).get("webhook")
        if conversion:
            hooks.append((f"conversion of {crd['metadata']['name']}", {"name": "", **conversion}))
    problems = [(hook, f"{name}: {problem}") for name, hook in hooks if (problem := _hook_problem(ctx, hook))]
    expected = "ready endpoints, an HTTP answer and a CA bundle for each"
    if problems:
        service = problems[0][0]["clientConfig"].get("service") or {}
        space, name = service.get("namespace", "default"), service.get("name", "")
        fix = f"kubectl -n {space} get service,endpointslices,pods | grep {name}; kubectl -n {space} get deployments"
        return failed(
            expected, f"{len(problems)} of {len(hooks)} do not", cause="\n".join(line for _, line in problems), fix=fix
        )
    services = {(hook["clientConfig"].get("service") or {}).get("name", "a URL") for _, hook in hooks}
    return passed(expected, f"{len(hooks)} webhooks of {', '.join(sorted(services)) or 'nobody'} answer")


def _hook_problem(ctx: Context, hook: Object) -> str:
    client = hook["clientConfig"]
    service = client.get("service")
    if service is None:
        return ""  # outside of the cluster: its URL is not ours to ask
    space, name, port = service["namespace"], service["name"], service.get("port", 443)
    where = f"service {space}/{name}"
    if ctx.kube.find(namespaced("services", space, name)) is None:
        return f"{where} does not exist"
    slices = ctx.kube.items(
        namespaced("endpointslices", space, group="discovery.k8s.io/v1"),
        labelSelector=f"kubernetes.io/service-name={name}",
    )
    ready = [e for s in slices for e in s.get("endpoints") or () if (e.get("conditions") or {}).get("ready")]
    if not ready:
        return f"{where} has no ready endpoint"
    if bundle := bundle_problem(client.get("caBundle", "")):
        return bundle
    path = f"{namespaced('services', space)}/https:{segment(name)}:{port}/proxy{service.get('path', '/')}"
    status = ctx.kube.status(path)  # any answer of its own will do: a webhook has no use for a GET
    return f"{where} does not answer (the API's proxy says {status})" if status in (502, 503, 504) else ""


def bundle_problem(bundle: str) -> str:
    """What is wrong with a webhook's CA bundle, "" if it is one that still holds."""
    from cryptography import x509
    from cryptography.utils import CryptographyDeprecationWarning

    if not bundle:
        return "it has no CA bundle"
    try:
        # Some controllers make themselves a CA with serial number 0: theirs to mend, and nothing for the screen.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        authorities = x509.load_pem_x509_certificates(base64.b64decode(bundle))
    except (ValueError, binascii.Error) as error:
        return f"its CA bundle is not readable: {error}"
    ends = max(authority.not_valid_after_utc for authority in authorities)
    return f"its CA expired on {ends:%Y-%m-%d}" if ends < datetime.now(UTC) else ""


@check(
    "cluster.crds",
    "Custom kinds are served, and refuse nonsense",
    proves="every CRD is established, and an object of it that breaks its schema is refused by a server-side dry run",
    needs=("cluster.webhooks",),
    timeout=60,
    writes=True,  # a dry run leaves nothing, but it is sent as a request to create
)
def crds(ctx: Context) -> Outcome:
    found = ctx.kube.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    problems, answers = [], {}
    for crd in found:
        name = crd["metadata"]["name"]
        conditions = {c["type"]: c for c in (crd.get("status") or {}).get("conditions") or ()}
        established = conditions.get("Established") or {}
        if established.get("status") != "True":
            problems.append(f"{name} is not established: {established.get('message') or 'the API has not taken it up'}")
            continue
        answers[name] = answer = _refusal(ctx, crd)
        if not answer:
            problems.append(f"{name} takes an object whose spec is no object")
    ctx.save("answers.json", answers)
    expected = "all established; a spec of the wrong type is answered with 400 or 422"
    if problems:
        first = problems[0].split()[0]
        fix = f"kubectl get crd {first} -o yaml shows its schema and conditions; arena-install up applies ours again"
        return failed(expected, f"{len(problems)} of {len(found)} are not right", cause="\n".join(problems), fix=fix)
    return passed(expected, f"{len(found)} CRDs, {len(answers)} of them refused a bad object")


def _refusal(ctx: Context, crd: Object) -> str:
    """What the API says to a bad object of that kind, "" if it takes it."""
    spec = crd["spec"]
    version = next(v for v in spec["versions"] if v["storage"])
    group = f"{spec['group']}/{version['name']}"
    plural = spec["names"]["plural"]
    path = namespaced(plural, "default", group=group) if spec["scope"] == "Namespaced" else f"/apis/{group}/{plural}"
    try:
        ctx.kube.create(path, bad_object(crd, version), dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        if error.status in (400, 422):
            return error.why
        raise
    return ""


def bad_object(crd: Object, version: Object) -> Object:
    """An object that its schema must refuse: its first field that is an object or a list holds a number."""
    schema: dict[str, Any] = ((version.get("schema") or {}).get("openAPIV3Schema") or {}).get("properties") or {}
    fields = [name for name, rule in schema.items() if name != "metadata" and rule.get("type") in ("object", "array")]
    field = "spec" if "spec" in fields or not fields else fields[0]
    return {
        "apiVersion": f"{crd['spec']['group']}/{version['name']}",
        "kind": crd["spec"]["names"]["kind"],
        "metadata": {"name": _BAD},
        field: 1,
    }
