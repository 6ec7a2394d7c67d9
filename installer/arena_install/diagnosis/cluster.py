"""The links that are the cluster's own: API, DNS, and what runs in it."""

from __future__ import annotations

from collections.abc import Iterator

from arena_install.diagnosis.drift import UP
from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.view import ClusterView, Object
from arena_install.stack.pods import PodState, owned_pods, rollout

DNS = "coredns"


def api(view: ClusterView) -> Broken | None:
    if not view.asked or not view.error:
        return None
    return Broken("the API does not answer from here", (view.error,), (UP,))


def dns(view: ClusterView) -> Broken | None:
    """CoreDNS, its Service, and whether the one leads to the other."""
    if not view.answers or not view.nodes:
        return None
    found = [row for row in view.workloads if row["kind"] == "Deployment" and row["metadata"]["name"] == DNS]
    if not found:
        return Broken("no name resolves: CoreDNS is gone", ("there is no Deployment kube-system/coredns",), (UP,))
    if not view.dns_service:
        return Broken("no name resolves: DNS has no Service", ("there is no Service kube-system/kube-dns",), (UP,))
    seen = ("Deployment kube-system/coredns: spec.replicas is 0", "Service kube-system/kube-dns has no endpoints")
    if found[0]["spec"].get("replicas", 1) == 0:
        scale = Fix(f"kubectl -n kube-system scale deployment {DNS} --replicas=2")
        return Broken("no name resolves: CoreDNS is scaled to 0", seen, (scale,))
    if view.dns_endpoints:
        return None
    pods = dns_pods(view)
    why = view.told(pods[0]) if pods else view.warned("kube-system", DNS)
    restart = Fix(f"kubectl -n kube-system rollout restart deployment {DNS}")
    return Broken("no name resolves: no pod of CoreDNS answers", (seen[1], *why), (restart,))


def dns_pods(view: ClusterView) -> list[PodState]:
    """Those of CoreDNS that are not as they should be."""
    return [s for s in view.unready.values() if s.namespace == "kube-system" and s.name.startswith(DNS)]


def components(view: ClusterView) -> Iterator[Broken]:
    """What runs on no particular node: installs that were cut off, pods without a node, workloads without pods."""
    for name, status in view.components.items():
        if status != "done":
            said = "did not succeed" if status == "failed" else "was cut off"
            yield Broken(f"component {name}: its install {said}", (f"its record says {status}",), (UP,))
    for state in view.unready.values():
        if not state.node and not state.name.startswith(DNS):
            yield pod_broken(view, state)
    for workload in view.workloads:
        if workload["metadata"]["name"] != DNS and (broken := _workload(view, workload)):
            yield broken


def _workload(view: ClusterView, workload: Object) -> Broken | None:
    """One that has no pods to be judged by."""
    kind, name, namespace = workload["kind"], workload["metadata"]["name"], workload["metadata"]["namespace"]
    if kind == "Deployment" and workload["spec"].get("replicas", 1) == 0:
        scale = Fix(f"kubectl -n {namespace} scale deployment {name} --replicas=1")
        seen = f"{kind} {namespace}/{name}: spec.replicas is 0"
        return Broken(f"{title(view, namespace)} is scaled to 0", (seen,), (scale,))
    if owned_pods(view.pods, workload) or not (lack := rollout(workload)):
        return None
    told = (f"{kind} {namespace}/{name}: {lack}", *view.warned(namespace, name))
    return Broken(f"{title(view, namespace)} has no pods", told, (UP,))


def pod_broken(view: ClusterView, state: PodState) -> Broken:
    owner = title(view, state.namespace)
    ask = Fix(f"arena-install doctor pod {state.name} -N {state.namespace}")
    return Broken(f"{owner}: a pod {_said(state)}", view.told(state), (ask,))


def title(view: ClusterView, namespace: str) -> str:
    """The component that lives in a namespace, as users know it."""
    return view.component_of.get(namespace, namespace)


def _said(state: PodState) -> str:
    return state.reason if state.reason.startswith("is ") else f"is {state.reason}"
