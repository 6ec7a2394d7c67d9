"""Suite scale, the part about control plane and kubelets: many small pods at once, and the API while they start.

As many as nodes have room for, within bounds: nobody's pods are kept from starting. Times are judged against each
other, or by bounds that only a cluster in trouble exceeds: how fast hosts are is nobody's fault.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks.cluster_network import percentile
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Kube, Object, namespaced, when
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check

_PODS = "scale.pods"
_EACH, _ALL = 15, 600  # at most so many on a node, and in all
_SPARE = 2  # of the room that a node has, one part in so many is taken
_AT_ONCE = 8  # requests to create
_STALL = 90.0  # seconds without another pod that starts
_SLOW, _SLOW_MS = 10, 30_000  # the last 5% take so many times as long as the median, and so long

#: Kubernetes' own objectives are 1 s for an object and 30 s for a list of the whole cluster (at 99%):
#: https://github.com/kubernetes/community/blob/master/sig-scalability/slos/api_call_latency.md
BUDGET_MS = {"get": 1000, "list": 5000}
_SAMPLES, _EVERY = 40, 0.25  # of each kind at least; seconds between them
_SAMPLING = 60.0  # seconds that more samples are waited for once all pods run


@dataclass
class Load:
    """What was seen. milliseconds: of the API, by kind of request. errors: what it said instead of an answer."""

    pods: int = 0
    milliseconds: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in BUDGET_MS})
    errors: list[str] = field(default_factory=list)


@check(
    _PODS,
    "Many pods start at once",
    proves="as many small pods as there is room for, within bounds, start on all nodes at once, none is left behind",
    needs=("cluster.pods",),
    timeout=900,
    writes=True,
    default=False,
    alone=True,
)
def many(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    places = shares(ctx.session.nodes(), ctx.kube.items("/api/v1/pods"))
    made = [
        _pod(ctx, f"many-{i}", node) for i, node in enumerate(n for n, count in places.items() for _ in range(count))
    ]
    if not made:
        return skipped("no node has room for more pods", fix="kubectl describe nodes shows who has it")
    load = Load(len(made))
    began = time.monotonic()
    with _Sampler(ctx, namespace, load) as sampler:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda pod: ctx.kube.create(namespaced("pods", namespace), pod), made))
        try:
            up = _await_all(ctx, namespace, len(made))
        except Exception:
            pods.capture(ctx, namespace)
            raise
        seconds = time.monotonic() - began
        sampler.enough(ctx)
    ctx.session.shared[_PODS] = load
    pods.remove(ctx, namespace, made)
    delays = {pod["metadata"]["name"]: start_ms(pod) for pod in up}
    ctx.save("start-ms.json", {f"{p['metadata']['name']} {p['spec'].get('nodeName')}": start_ms(p) for p in up})
    ctx.save("api-ms.json", load.milliseconds)
    middle, last = statistics.median(delays.values()), percentile(list(delays.values()), 95)
    expected = (
        f"{len(made)} pods on {len(places)} nodes run; 95% within {_SLOW} times the median, or {_SLOW_MS / 1000:g} s"
    )
    observed = f"{len(made)} in {seconds:.0f} s, {len(made) / seconds:.1f} pods/s; scheduled to running: median "
    observed += f"{middle / 1000:.0f} s, 95% within {last / 1000:.0f} s"
    data = {"pods": len(made), "seconds": seconds, "start_ms": sorted(delays.values())}
    if last > _SLOW_MS and last > _SLOW * middle:
        slowest = max(up, key=start_ms)["spec"].get("nodeName")
        cause = f"a few pods take very much longer than the others; the slowest is on {slowest}"
        fix = f"on host {slowest}: journalctl -u kubelet -u containerd; crictl info; top"
        return failed(expected, observed, cause=cause, fix=fix, data=data)
    return passed(expected, observed, data=data)


def shares(nodes: Sequence[Object], there: Sequence[Object]) -> dict[str, int]:
    """Node -> pods to start on it, of the nodes that take everybody's. there: every pod of the cluster."""
    count: dict[str, int] = {}
    for pod in there:
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            name = str(pod["spec"].get("nodeName", ""))
            count[name] = count.get(name, 0) + 1
    found = {}
    for node in nodes:
        name, spec = str(node["metadata"]["name"]), node.get("spec") or {}
        closed = any(taint["effect"] != "PreferNoSchedule" for taint in spec.get("taints") or ())
        room = int(node["status"].get("allocatable", {}).get("pods", 0)) - count.get(name, 0)
        if not closed and not spec.get("unschedulable") and room >= _SPARE:
            found[name] = room // _SPARE
    most = min(_EACH, max(1, _ALL // max(1, len(found))))
    return {name: min(most, room) for name, room in list(found.items())[:_ALL]}


def _pod(ctx: Context, name: str, node: str) -> Object:
    pod = pods.manifest(ctx, name, pods.BUSYBOX, ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"], node=node)
    small = {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"memory": "32Mi"}}
    pod["spec"]["containers"][0]["resources"] = small
    return pod


def _await_all(ctx: Context, namespace: str, count: int) -> list[Object]:
    """Wait until all run; gives them. Raises CheckFailed when one fails, or when for long no further one starts."""
    best, since = 0, time.monotonic()
    stuck: dict[str, float] = {}

    def look() -> list[Object] | None:
        nonlocal best, since
        there = pods.found(ctx, namespace)
        up = [pod for pod in there if pods.running(pod)]
        if len(up) == count:
            return up
        for pod in there:
            pods.judge(ctx, pod, stuck)
        if len(up) > best:
            best, since = len(up), time.monotonic()
        if time.monotonic() > since + _STALL:
            raise _left_behind(ctx, namespace, [pod for pod in there if not pods.running(pod)], count)
        ctx.progress(f"{len(up)} of {count} pods running")
        return None

    try:
        return ctx.wait(look, "all pods to run", every=0.5)
    except TimedOutError:
        there = [pod for pod in pods.found(ctx, namespace) if not pods.running(pod)]
        raise _left_behind(ctx, namespace, there, count) from None


def _left_behind(ctx: Context, namespace: str, waiting: Sequence[Object], count: int) -> CheckFailed:
    """By node, with the last warning about one of them."""
    said = {
        str(event["involvedObject"].get("name")): str(event.get("message"))
        for event in ctx.kube.items(namespaced("events", namespace))
        if event.get("type") == "Warning"
    }
    nodes: dict[str, list[str]] = {}
    for pod in waiting:
        nodes.setdefault(str(pod["spec"].get("nodeName") or "no node"), []).append(str(pod["metadata"]["name"]))
    lines = []
    for node, names in sorted(nodes.items()):
        why = next((said[name] for name in names if name in said), "nobody says why")
        lines.append(f"{node}: {len(names)} pods wait: {why[:300]}")
    host = next(iter(sorted(nodes)), "")
    return CheckFailed(
        f"{len(waiting)} of {count} pods did not start, none for {_STALL:.0f} s",
        cause="\n".join(lines) or "the pods are gone",
        fix=f"on host {host}: journalctl -u kubelet -n 50; ls /var/lib/cni/networks/*; df -h; free -m",
    )


def start_ms(pod: Object) -> int:
    """Milliseconds from scheduled to running, in whole seconds as the API has them."""
    scheduled = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")["lastTransitionTime"]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    return max(0, round((when(started) - when(scheduled)) * 1000))


class _Sampler:
    """Asks the API for an object and for a list, again and again, while the pods start."""

    def __init__(self, ctx: Context, namespace: str, load: Load) -> None:
        self._load, self._kube, self._stop = load, ctx.kube, threading.Event()
        ways: dict[str, Callable[[Kube], object]] = {
            "get": lambda kube: kube.get(f"/api/v1/namespaces/{namespace}"),
            "list": lambda kube: kube.items(namespaced("pods", namespace)),
        }
        self._threads = [threading.Thread(target=self._run, args=way, daemon=True) for way in ways.items()]

    def __enter__(self) -> _Sampler:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def enough(self, ctx: Context) -> None:
        """Wait until there are so many samples that a percentile says something; not for ever."""
        until = time.monotonic() + _SAMPLING
        while any(len(found) < _SAMPLES for found in self._load.milliseconds.values()) and time.monotonic() < until:
            ctx.session.sleep(0.5, until)

    def _run(self, kind: str, ask: Callable[[Kube], object]) -> None:
        while not self._stop.wait(_EVERY):
            began = time.monotonic()
            try:
                ask(self._kube)
            except ArenaError as error:
                self._load.errors.append(f"{kind}: {error.why or error.what}")
            self._load.milliseconds[kind].append(round((time.monotonic() - began) * 1000))


@check(
    "scale.api",
    "The API stays quick under load",
    proves="while many pods start, the API gives an object within a second and a list within five, 95 times of 100",
    needs=(_PODS,),
    timeout=30,
    default=False,
)
def api(ctx: Context) -> Outcome:
    load: Load = ctx.session.shared[_PODS]
    slow = {kind: percentile(values, 95) for kind, values in load.milliseconds.items()}
    counts = {kind: len(values) for kind, values in load.milliseconds.items()}
    expected = ", ".join(f"95% of {kind.upper()} within {budget} ms" for kind, budget in BUDGET_MS.items())
    observed = ", ".join(f"{counts[kind]} x {kind.upper()}: {slow[kind]} ms" for kind in BUDGET_MS)
    data = {"milliseconds": load.milliseconds, "pods": load.pods}
    if problems := api_problems(slow, counts, load.errors):
        return failed(
            expected,
            observed,
            cause="\n".join(problems),
            fix="on the control planes: top; arena-install verify --check cluster.etcd tells how quick etcd's disk is",
            data=data,
        )
    return passed(expected, f"{observed} (95%), beside {load.pods} pods that start", data=data)


def api_problems(slow: Mapping[str, int], counts: Mapping[str, int], errors: Sequence[str]) -> list[str]:
    """slow: 95th percentiles in ms by kind. counts: samples. errors: one line each."""
    problems = [
        f"{kind.upper()}: 95% within {slow[kind]} ms, the budget is {budget} ms"
        for kind, budget in BUDGET_MS.items()
        if slow[kind] > budget
    ]
    problems += [f"{kind.upper()}: no answer to measure" for kind, count in counts.items() if not count]
    return problems + ([f"{len(errors)} requests went wrong, the first: {errors[0]}"] if errors else [])
