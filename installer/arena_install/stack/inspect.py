"""What the cluster holds of us and how it differs from the ledger. Reads only; `plan` and `up` both look through this.

Objects are listed by kind and namespace, metadata alone, several lists at once: some twenty small requests for a whole
cluster, whatever its objects contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from arena_install.plan import Item, Record
from arena_install.stack import drift, ledger
from arena_install.stack.api import Api, Object
from arena_install.stack.helm import Revision, revisions
from arena_install.stack.ledger import Entry, Ref

AS_LEFT = "as installed"
_PARALLEL = 8


@dataclass(frozen=True)
class Seen:
    """entries: the ledger. releases: (namespace, name) -> revisions, oldest first. records: what the planner compares,
    by component."""

    entries: Mapping[str, Entry]
    releases: Mapping[tuple[str, str], Sequence[Revision]]
    records: Mapping[str, Record]


def inspect(api: Api) -> Seen:
    """Raises UnreachableError, ApiError."""
    entries = ledger.read(api)
    releases = revisions(api) if entries else {}
    found = objects(api, [*(ref for entry in entries.values() for ref in entry.refs), *_nodes(entries.values())])
    records = {
        name: Record(entry.status, entry.inputs, (_release(entry, releases), *_items(entry, found)))
        for name, entry in entries.items()
    }
    return Seen(entries, releases, records)


def as_left(api: Api, entry: Entry) -> Entry:
    """The entry of a component that is done: how each of its objects is now, to tell drift by."""
    found = objects(api, entry.refs)
    history = revisions(api, entry.namespace).get((entry.namespace, entry.release))
    states = {ref.key: drift.state_of(obj) for ref, obj in found.items()}
    return replace(entry, status="done", at=ledger.now(), states=states, revision=history[-1].number if history else 0)


def objects(api: Api, refs: Iterable[Ref]) -> dict[Ref, Object]:
    """Metadata (with kind) of those that exist."""
    wanted = set(refs)
    places = sorted({(ref.api_version, ref.kind, ref.namespace) for ref in wanted})
    with ThreadPoolExecutor(_PARALLEL) as pool:
        lists = list(pool.map(lambda place: api.list_metadata(*place), places))
    found = {}
    for (api_version, kind, namespace), rows in zip(places, lists, strict=True):
        for row in rows:
            ref = Ref(api_version, kind, row["metadata"]["name"], namespace)
            if ref in wanted:
                found[ref] = {**row, "kind": kind}
    return found


def _release(entry: Entry, releases: Mapping[tuple[str, str], Sequence[Revision]]) -> Item:
    history = releases.get((entry.namespace, entry.release))
    found = f"{history[-1].status}, revision {history[-1].number}" if history else "absent"
    recorded = f"deployed, revision {entry.revision or (history[-1].number if history else 1)}"
    return Item("release", f"{entry.namespace}/{entry.release}", recorded, found)


def _items(entry: Entry, found: Mapping[Ref, Object]) -> Iterable[Item]:
    for ref in entry.refs:
        obj, name = found.get(ref), f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
        if obj is None:
            state = "absent"
        elif entry.states.get(ref.key) in (None, drift.state_of(obj)):  # none: by a version that noted less
            state = AS_LEFT
        else:
            state = f"edited, last by {who}" if (who := drift.editor(obj)) else "edited"
        yield Item(ref.kind, name, AS_LEFT, state)
    for node, labels in entry.node_labels.items():
        if obj := found.get(Ref("v1", "Node", node)):  # one that has left takes its labels along
            has = obj["metadata"].get("labels") or {}
            for key, value in labels.items():
                yield Item("node label", f"{node} {key}", value, has.get(key, "absent"))


def _nodes(entries: Iterable[Entry]) -> list[Ref]:
    return [Ref("v1", "Node", node) for entry in entries for node in entry.node_labels]
