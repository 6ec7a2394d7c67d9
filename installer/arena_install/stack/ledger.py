"""The cluster's part of the ledger: what of it is ours, in ConfigMap arena-install-ledger.

One key a component, each patched alone, so that components installed side by side do not overwrite each other. Intent
is written before a component is touched, the outcome after it: whatever kills us, `up` knows what to redo and `down`
what to remove.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from arena_install.errors import TimedOutError
from arena_install.stack.api import Api, Object

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
NAMESPACE, NAME = "arena-install-system", "arena-install-ledger"
OWNER_LABEL = "arena-install.local/component"  # on whatever we apply ourselves; its value is the component's name

Status = Literal["intent", "done", "failed", "leaving"]


@dataclass(frozen=True)
class Ref:
    """One object in the cluster."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    @property
    def key(self) -> str:
        """Its name in Entry.states."""
        return f"{self.api_version} {self}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Entry:
    """What is known about one component."""

    status: Status
    inputs: str  # digest of what it was made from
    chart: str
    version: str
    namespace: str
    release: str
    objects: tuple[Ref, ...] = ()  # of the release
    hooks: tuple[Ref, ...] = ()  # of the release; Helm makes and removes them when their time comes
    ours: tuple[Ref, ...] = ()  # applied beside the release
    crds: tuple[str, ...] = ()  # CRDs that we made
    namespaces: tuple[str, ...] = ()  # namespaces that we made
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # node -> labels that we set
    states: Mapping[str, str] = field(default_factory=dict)  # Ref.key -> drift.state_of, as we left it
    revision: int = 0  # of the release
    at: str = ""  # UTC, ISO 8601

    @property
    def refs(self) -> tuple[Ref, ...]:
        """All objects that must be there while the component is: not the hooks, which come and go."""
        crds = (Ref(*CRD, name) for name in self.crds)
        namespaces = (Ref("v1", "Namespace", name) for name in self.namespaces)
        return (*namespaces, *crds, *self.ours, *self.objects)

    def dump(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Entry:
        data: dict[str, Any] = json.loads(text)
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        for key in ("objects", "hooks", "ours"):
            known[key] = tuple(_ref(row) for row in known.get(key, ()))
        for key in ("crds", "namespaces"):
            known[key] = tuple(known.get(key, ()))
        return cls(**known)


def _ref(row: Mapping[str, Any]) -> Ref:
    return Ref(**{key: value for key, value in row.items() if key in Ref.__dataclass_fields__})


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read(api: Api) -> dict[str, Entry]:
    """All entries by component; an entry that can't be read counts as none (its component is installed anew)."""
    found = api.get("v1", "ConfigMap", NAME, NAMESPACE)
    entries: dict[str, Entry] = {}
    for name, text in ((found or {}).get("data") or {}).items():
        try:
            entries[name] = Entry.load(text)
        except (ValueError, TypeError):
            continue
    return entries


def settle_namespace(api: Api, name: str) -> Object | None:
    """The namespace, None if there is none; one that is going away is waited out. Raises TimedOutError."""
    found = api.get("v1", "Namespace", name)
    if found is None or not found["metadata"].get("deletionTimestamp"):
        return found
    if not api.wait_gone("v1", "Namespace", name):
        conditions = (found.get("status") or {}).get("conditions") or ()
        stuck = (row["message"] for row in conditions if row.get("status") == "True")
        why = next(stuck, "something in it has a finalizer")
        raise TimedOutError(
            f"namespace {name} is being deleted and does not go away",
            why=why,
            fix=f"kubectl get namespace {name} -o yaml names what holds it",
        )
    return None


def prepare(api: Api) -> None:
    """Make the ledger's namespace and an empty ledger where there are none."""
    labels = {"app.kubernetes.io/managed-by": "arena-install", "pod-security.kubernetes.io/enforce": "restricted"}
    settle_namespace(api, NAMESPACE)
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}, force=True)
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": NAME,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "arena-install"},
            },
        },
        force=True,
    )


def write(api: Api, component: str, entry: Entry | None) -> None:
    """Record one component; None takes its record out."""
    text = entry.dump() if entry else None
    api.merge("v1", "ConfigMap", NAME, {"data": {component: text}}, NAMESPACE)


def remove(api: Api) -> None:
    """Take the ledger and its namespace away, when nothing is recorded any more."""
    api.delete("v1", "ConfigMap", NAME, NAMESPACE)
    api.delete("v1", "Namespace", NAMESPACE)
