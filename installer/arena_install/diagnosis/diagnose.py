"""Facts and the API's word to causes. Pure.

Each host's chain is walked to its first broken links; what needs them is a consequence. Then hosts are seen together:
what one host's cause explains on others is its consequence too, and the same cause on several hosts is told once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from arena_install.diagnosis import cluster as whole
from arena_install.diagnosis import gpu_links, host, node
from arena_install.diagnosis.model import Broken, Cause, Diagnosis, Link, walk
from arena_install.diagnosis.notes import counts, notes
from arena_install.diagnosis.view import ClusterView, HostView
from arena_install.inventory.cluster import Cluster
from arena_install.probe.facts import Facts


def _pods(view: HostView) -> Broken | None:
    """The first pod of the platform on this node that is not well."""
    for state in view.api.unready.values() if view.node else ():
        told = state.name.startswith(whole.DNS) and not view.api.dns_endpoints  # by the link DNS
        if state.node == view.node_name and not told:
            return whole.pod_broken(view.api, state)
    return None


CHAIN: tuple[Link[HostView], ...] = (
    *host.LINKS,
    *node.LINKS,
    *gpu_links.LINKS,
    Link("pods", ("node", "services", "registry", "device plugin"), _pods),
    *host.LEAVES,
)
#: The order in which causes are told; those of the cluster as a whole have their places in it.
_ORDER = [link.name for link in CHAIN]
_ORDER[_ORDER.index("CNI") : _ORDER.index("CNI")] = ["the API from here"]
_ORDER[_ORDER.index("services") + 1 : _ORDER.index("services") + 1] = ["DNS"]
_ORDER[_ORDER.index("pods") + 1 : _ORDER.index("pods") + 1] = ["components"]
#: Links before the API: a control plane that is broken there explains why the API does not answer.
_BEFORE_API = frozenset(_ORDER[: _ORDER.index("API") + 1])


@dataclass
class _Root:
    """One cause on one host ("": the cluster's own) before causes are put together."""

    link: str
    host: str
    broken: Broken
    follows: list[str] = field(default_factory=list)


def diagnose(cluster: Cluster, facts: Facts, api: ClusterView, now: float) -> Diagnosis:
    """now: Unix seconds."""
    views = host_views(cluster, facts, api, now)
    roots: list[_Root] = []
    for view in views:
        for link, broken, follows in walk(CHAIN, view):
            told = [f"{view.host.name}: {name}: {one.what}" for name, one in follows]
            roots.append(_Root(link, view.host.name, broken, told))
    roots = _registry(roots, views)
    roots = _whole(roots, cluster, api)
    causes = _together(sorted(roots, key=lambda root: _ORDER.index(root.link)))
    unreachable = bool(facts.unreachable) or any(cause.link == "the API from here" for cause in causes)
    return Diagnosis(cluster.name, causes, notes(views, roots_of(causes)), counts(cluster, facts, api), unreachable)


def host_views(cluster: Cluster, facts: Facts, api: ClusterView, now: float) -> list[HostView]:
    serving = cluster.group("registry") or cluster.group("control_plane")
    registry = serving[0].name if serving else ""
    return [
        HostView(
            one,
            cluster,
            facts.hosts[one.name],
            tuple(finding for finding in facts.findings if finding.host == one.name),
            api,
            registry,
            now,
        )
        for one in cluster.hosts
    ]


def roots_of(causes: Iterable[Cause]) -> frozenset[tuple[str, str]]:
    """(host, link) of everything that is a cause."""
    return frozenset((name, cause.link) for cause in causes for name in cause.hosts)


def _registry(roots: list[_Root], views: list[HostView]) -> list[_Root]:
    """Other hosts get no answer from a registry whose own host is broken."""
    serving = views[0].registry if views else ""
    before = set(_ORDER[: _ORDER.index("certificates") + 1])
    cause = next((root for root in roots if root.host == serving and root.link in before), None)
    if cause is None:
        return roots
    kept = []
    for root in roots:
        if root.link == "registry" and root.host != serving:
            cause.follows += [f"{root.host}: registry: {root.broken.what}", *root.follows]
        else:
            kept.append(root)
    return kept


def _whole(roots: list[_Root], cluster: Cluster, api: ClusterView) -> list[_Root]:
    """Add what is broken in the cluster as a whole, unless a host's cause explains it."""
    planes = {one.name for one in cluster.group("control_plane")}
    if broken := whole.api(api):
        _add(roots, "the API from here", broken, [r for r in roots if r.host in planes and r.link in _BEFORE_API])
    grave = [root for root in roots if root.link not in ("drift", "driver files", "pods")]
    if broken := whole.dns(api):
        under = {state.node for state in whole.dns_pods(api)}
        _add(roots, "DNS", broken, [root for root in grave if root.host.lower() in under])
        if roots[-1].link == "DNS":
            roots = _under_dns(roots[-1], roots)
    for broken in whole.components(api):
        _add(roots, "components", broken, grave if "Unschedulable" in broken.what else [])
    return roots


def _under_dns(dns: _Root, roots: list[_Root]) -> list[_Root]:
    """Pods that fail while no name resolves fail because of that, as far as one can tell."""
    dns.follows += [f"{root.host}: {root.broken.what}" for root in roots if root.link == "pods"]
    return [root for root in roots if root.link != "pods"]


def _add(roots: list[_Root], link: str, broken: Broken, explained_by: list[_Root]) -> None:
    if explained_by:
        explained_by[0].follows.append(f"{link}: {broken.what}")
    else:
        roots.append(_Root(link, "", broken))


def _together(roots: Iterable[_Root]) -> tuple[Cause, ...]:
    """The same thing broken on several hosts is one cause; its evidence and commands are the first host's."""
    found: dict[tuple[str, str], list[_Root]] = {}
    for root in roots:
        found.setdefault((root.link, root.broken.what), []).append(root)
    return tuple(
        Cause(
            link,
            tuple(root.host for root in same if root.host),
            what,
            same[0].broken.seen,
            same[0].broken.fixes,
            tuple(dict.fromkeys(text for root in same for text in root.follows)),
        )
        for (link, what), same in found.items()
    )
