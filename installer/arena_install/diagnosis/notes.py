"""What is worth knowing and breaks nothing, and how much was looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arena_install.diagnosis.drift import UP
from arena_install.diagnosis.model import Counts, Fix, Note
from arena_install.diagnosis.view import GPU, ClusterView, HostView, Object
from arena_install.diagnosis.xid import told
from arena_install.inventory.cluster import Cluster
from arena_install.probe.facts import Facts

#: Warnings of the probe that the chain of GPUs tells better.
_TOLD_ELSEWHERE = frozenset({"gpu-lost"})


def notes(views: Sequence[HostView], causes: frozenset[tuple[str, str]]) -> tuple[Note, ...]:
    """causes: (host, link) of those already told. The same note of several hosts is one."""
    found: dict[str, list[Note]] = {}
    for view in views:
        for note in _of(view, causes):
            found.setdefault(note.text.partition(": ")[0], []).append(note)
    return tuple(Note(tuple(n.hosts[0] for n in same), same[0].text, same[0].fixes) for same in found.values())


def _of(view: HostView, causes: frozenset[tuple[str, str]]) -> Iterator[Note]:
    name = (view.host.name,)
    for finding in view.findings:
        if finding.severity == "warning" and finding.id not in _TOLD_ELSEWHERE:
            yield Note(name, f"{finding.title}: {finding.observed}", (Fix(finding.fix, view.host.name, sentence=True),))
    if view.facts is None:
        return
    if not view.facts.ledger:
        yield Note(name, "not set up yet", (UP,))
    for role, record in view.facts.ledger.items():
        if record.status == "intent":
            yield Note(name, f"role {role} was begun and not ended", (UP,))
    if view.facts.nvidia.xids and not {(view.host.name, link) for link in ("NVML", "health")} & causes:
        last = view.facts.nvidia.xids[-1]
        yield Note(name, f"an XID was reported since the host started; its GPUs are in use: XID {told(last)}")
    if view.node and view.node["spec"].get("unschedulable"):
        yield Note(name, "the node takes no new pods (cordoned)", (Fix(f"kubectl uncordon {view.node_name}"),))


def counts(cluster: Cluster, facts: Facts, api: ClusterView) -> Counts:
    certificates = [at for found in facts.reached.values() for at in found.certificates.values()]
    return Counts(
        hosts=len(cluster.hosts),
        reached=len(facts.reached),
        nodes=len(api.nodes),
        ready=sum(_ready(row) for row in api.nodes),
        gpus=sum(_gpus(row, "capacity") for row in api.nodes),
        allocatable=sum(_gpus(row, "allocatable") for row in api.nodes),
        simulated=any(found.nvidia.simulated for found in facts.reached.values()),
        pods=len(api.pods),
        pods_ready=len(api.pods) - len(api.unready),
        components=len(api.components),
        dns=api.dns_endpoints,
        certificates_until=min(certificates, default=None),
    )


def _ready(row: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in row["status"].get("conditions") or ())


def _gpus(row: Object, key: str) -> int:
    return int(row["status"].get(key, {}).get(GPU, 0))
