"""Suite cluster, the part about the pod network: names, packets and services, asked from a pod on every node."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from arena_install.verify import agents, pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

_POD = "/payload/agent_pod.sh"
HOST = "/payload/agent_host.sh"
PODS = "cluster.pods"

_ROUNDS = 5  # of lookups, so that one DNS pod that works does not hide another that does not
_SETTLE = 15  # seconds until a new service is known on every node
_SLOW = 1000  # ms; a quiet cluster stays below 100, a resolver gives up after 5000


@check(
    PODS,
    "A user's pod starts on every node",
    proves="each node takes a pod without rights, has its image, and gives it an address in the node's pod network",
    severity="critical",
    needs=("cluster.nodes-ready",),
    timeout=90,
    writes=True,
)
def start(ctx: Context) -> Outcome:
    up = ctx.session.agents.start(ctx, "pod")
    pods.capture(ctx, ctx.session.workspaces.get("restricted"))
    addresses = {node: agents.address(pod) for node, pod in up.items()}
    twice = [node for node, address in addresses.items() if list(addresses.values()).count(address) > 1]
    if twice:
        raise CheckFailed(
            f"pods on {', '.join(twice)} have the same address",
            cause=", ".join(f"{node}: {addresses[node]}" for node in twice),
            fix="kubectl get nodes -o custom-columns=N:.metadata.name,C:.spec.podCIDR: no two may share one",
        )
    return passed("one pod running on each node, each with an address of its own", ", ".join(addresses.values()))


@check(
    "cluster.dns",
    "Names resolve on every node",
    proves="a pod on any node finds services by name, every time and soon, through the cluster's DNS",
    needs=(PODS,),
    timeout=120,
    writes=True,
)
def dns(ctx: Context) -> Outcome:
    domain = ctx.cluster.config.kubernetes.cluster_domain
    names = {f"kubernetes.default.svc.{domain}": _vip(ctx, "default", "kubernetes")}
    names |= {f"kube-dns.kube-system.svc.{domain}": _vip(ctx, "kube-system", "kube-dns")}
    pairs = [f"{name}={address}" for name, address in names.items()] * _ROUNDS
    absolute = ctx.session.agents.ask_all(ctx, "pod", lambda _: ["sh", _POD, "lookups", *pairs])
    short = ["sh", _POD, "search", "kubernetes.default.svc", names[f"kubernetes.default.svc.{domain}"]]
    relative = ctx.session.agents.ask_all(ctx, "pod", lambda _: short)
    answers = {node: absolute[node] + relative[node] for node in absolute}
    ctx.save("lookups.txt", "".join(f"# {node}\n{text}" for node, text in answers.items()))
    wrong, times = lookups(answers)
    asked = len(pairs) + 1
    slow = percentile(times, 95)
    expected = f"{asked} lookups right from each of {len(answers)} nodes, 95% of them within {_SLOW} ms"
    if wrong:
        cause, fix = _dns_cause(ctx, list(wrong))
        observed = ", ".join(f"{node}: {asked - bad} of {asked}" for node, bad in wrong.items())
        return failed(expected, observed, cause=cause, fix=fix)
    if slow > _SLOW:
        fix = "kubectl -n kube-system top pods -l k8s-app=kube-dns; scale coredns, or free the nodes it is on"
        return failed(expected, f"95% within {slow} ms", cause="all answers are right, but slow", fix=fix)
    good = f"{asked * len(answers)} of {asked * len(answers)} lookups right, 95% within {slow} ms"
    return passed(expected, good, data={"milliseconds": times})


def _vip(ctx: Context, namespace: str, name: str) -> str:
    return str(ctx.kube.get(namespaced("services", namespace, name))["spec"]["clusterIP"])


def lookups(answers: dict[str, str]) -> tuple[dict[str, int], list[int]]:
    """(node -> wrong answers where there were any, milliseconds of all absolute lookups) of what agents printed."""
    wrong: dict[str, int] = {}
    times = []
    for node, text in answers.items():
        words = [line.split() for line in text.splitlines()]
        times += [int(row[2]) for row in words if row[:1] == ["lookup"]]
        if bad := sum(row[-1] != "right" for row in words if row[:1] in (["lookup"], ["search"])):
            wrong[node] = bad
    return wrong, times


def percentile(values: Sequence[int], percent: float) -> int:
    """By the nearest rank; 0 where there are no values."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else 0


def _dns_cause(ctx: Context, nodes: list[str]) -> tuple[str, str]:
    """(cause, fix): the DNS pods themselves, or the way to them."""
    servers = ctx.kube.items(namespaced("pods", "kube-system"), labelSelector="k8s-app=kube-dns")
    ready = [pod for pod in servers if pods.running(pod)]
    if not ready:
        what = f"none of {len(servers)} CoreDNS pods is ready" if servers else "no CoreDNS pod exists"
        return what, "kubectl -n kube-system get deployment,pods -l k8s-app=kube-dns; kubectl -n kube-system scale " + (
            "deployment coredns --replicas=2"
        )
    where = ", ".join(sorted({str(pod["spec"].get("nodeName")) for pod in ready}))
    return (
        f"{len(ready)} CoreDNS pods are ready (on {where}), but lookups from {', '.join(nodes)} went unanswered",
        "kubectl -n kube-system logs -l k8s-app=kube-dns; if cluster.network failed too, mend that first",
    )


@check(
    "cluster.network",
    "Pods reach pods on every other node",
    proves="packets go from every node's pods to the next ones', in a ring over all nodes (every pair up to twelve)",
    severity="critical",
    needs=(PODS,),
    timeout=120,
    writes=True,
)
def network(ctx: Context) -> Outcome:
    up = ctx.session.agents.start(ctx, "pod")
    targets = {node: f"{agents.address(pod)}:{agents.PORT}" for node, pod in up.items()}
    answers = ctx.session.agents.ask_all(
        ctx, "pod", lambda node: ["sh", _POD, "get", *(f"{to}={targets[to]}" for to in partners(node, list(up)))]
    )
    ctx.save("answers.txt", "".join(f"# {node}\n{text}" for node, text in answers.items()))
    tried, lost = ways(answers)
    expected = f"requests between {len(up)} nodes' pods are answered by the pod asked for"
    if lost or not tried:
        return failed(
            expected,
            f"{len(lost)} of {tried} requests failed",
            cause="\n".join(lost[:20]) or "the agents reported nothing",
            fix="kubectl -n kube-flannel get pods -o wide; check that the nodes reach each other on UDP 8472 (vxlan)",
        )
    return passed(expected, f"{tried} requests answered", data={"requests": tried})


def partners(node: str, nodes: list[str]) -> list[str]:
    """Whom a node's pod asks: everyone in a cluster of up to twelve, else itself and the next six in a ring."""
    if len(nodes) <= 12:
        return nodes
    index = nodes.index(node)
    return [nodes[(index + step) % len(nodes)] for step in range(7)]


def ways(answers: dict[str, str]) -> tuple[int, list[str]]:
    """(requests made, those that went wrong) of lines "get TO ANSWER".

    TO is the node whose pod should answer, followed by "/" and the way there if that isn't its address; or it begins
    with "any-" where any pod may answer."""
    lost, tried = [], 0
    for node, text in answers.items():
        for line in text.splitlines():
            to, _, answer = line.removeprefix("get ").partition(" ")
            tried += 1
            if not answer:
                lost.append(f"{node} -> {to}: no answer")
            elif not to.startswith("any-") and answer != to.partition("/")[0]:
                lost.append(f"{node} -> {to}: answered by {answer}")
    return tried, lost


@check(
    "cluster.services",
    "Services are reached from every node",
    proves="a service's address, its NodePort on this node and the next, and the way back to oneself work everywhere",
    needs=("cluster.network",),
    timeout=120,
    writes=True,
)
def services(ctx: Context) -> Outcome:
    up = list(ctx.session.agents.start(ctx, "pod"))
    open_ = agents.service(ctx, "agents", {"type": "NodePort"})["spec"]
    port = open_["ports"][0]["nodePort"]
    # with one pod a node, a service that stays on its node leads each pod to itself
    local = agents.service(ctx, "agents-local", {"internalTrafficPolicy": "Local"})["spec"]["clusterIP"]
    hosts = {node["metadata"]["name"]: internal(node) for node in ctx.session.nodes()}

    def asks(node: str) -> list[str]:
        after = up[(up.index(node) + 1) % len(up)]
        return [
            "sh", _POD, "get",
            f"any-service={open_['clusterIP']}:80",
            f"any-nodeport-here={hosts[node]}:{port}",
            f"any-nodeport-on-{after}={hosts[after]}:{port}",
            f"{node}/by-service={local}:80",
        ]  # fmt: skip

    until = time.monotonic() + _SETTLE
    while True:
        answers = ctx.session.agents.ask_all(ctx, "pod", asks)
        tried, lost = ways(answers)
        if not lost or time.monotonic() > until:
            break
        ctx.session.sleep(1, until)
    ctx.save("answers.txt", "".join(f"# {node}\n{text}" for node, text in answers.items()))
    expected = f"service, NodePort (here and on the next node) and hairpin answer on each of {len(up)} nodes"
    if lost:
        return failed(
            expected,
            f"{len(lost)} of {tried} requests failed",
            cause="\n".join(lost[:20]),
            fix=f"kubectl -n kube-system logs -l k8s-app=kube-proxy; on host {lost[0].split()[0]}: nft list ruleset",
        )
    return passed(expected, f"{tried} requests answered, NodePort {port}")


def internal(node: Object) -> str:
    return next(str(a["address"]) for a in node["status"]["addresses"] if a["type"] == "InternalIP")


@check(
    "cluster.path-mtu",
    "Packets of full size get through",
    proves="between all nodes' pods, a packet as large as their interface allows arrives whole (it may not be cut up)",
    needs=("cluster.network",),
    timeout=120,
    writes=True,
)
def path_mtu(ctx: Context) -> Outcome:
    up = ctx.session.agents.start(ctx, "pod")
    mtus = ctx.session.agents.ask_all(ctx, "pod", lambda _: ["sh", _POD, "mtu"])

    def asks(node: str) -> list[str]:  # a pod without rights may not ping: the host's agent does it in its place
        others = [to for to in partners(node, list(up)) if to != node]
        pairs = [f"{to}={agents.address(up[to])}" for to in others]
        return ["sh", HOST, "ping_from", up[node]["metadata"]["uid"], mtus[node].strip(), *pairs]

    answers = ctx.session.agents.ask_all(ctx, "host", asks)
    ctx.save("pings.txt", "".join(f"# {node}\n{text}" for node, text in answers.items()))
    tried, sizes, lost = pings(answers)
    expected = f"pings of the interface's MTU, not to be fragmented, between {len(up)} nodes' pods"
    if lost:
        return failed(
            expected,
            f"{len(lost)} of {tried} pings failed",
            cause="\n".join(lost[:20]),
            fix="on the hosts: ip link shows the MTUs of eth0, flannel.1 and cni0 (50 bytes less than the host's); "
            "mend the smaller one, then arena-install up",
        )
    if not tried:
        return passed(expected, "one node: no way between nodes to try")
    return passed(expected, f"{tried} pings of {', '.join(map(str, sizes))} bytes came back", data={"bytes": sizes})


def pings(answers: dict[str, str]) -> tuple[int, list[int], list[str]]:
    """(pings sent, sizes in bytes, what went wrong) of lines "ping TO BYTES full|small|lost"."""
    tried, sizes, lost = 0, set(), []
    for node, text in answers.items():
        for line in text.splitlines():
            _, to, size, state = line.split()
            tried += 1
            sizes.add(int(size))
            if state != "full":
                what = "only small ones arrive" if state == "small" else "not even small ones arrive"
                lost.append(f"{node} -> {to}: a packet of {size} bytes is lost; {what}")
    return tried, sorted(sizes), lost
