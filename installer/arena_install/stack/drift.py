"""Is an object as we left it? Told from its metadata alone, by who owns which of its fields.

The API server notes in managedFields which client set each field last: whoever changes one of ours takes it from us,
and whoever adds one is listed with it. So a digest of those notes sees every edit, whatever the kind, and what
defaults and quantities look like on the server does not matter. Fields that controllers fill in by right do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from arena_install.stack.api import MANAGER, Object

#: Field managers that write for us; Helm's name is that of its program.
OURS = ("helm", MANAGER)

#: Kinds that nobody but us has to write to, so that a field which somebody adds is an edit too.
STEADY = frozenset({
    "ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "DaemonSet", "Deployment",
    "MutatingWebhookConfiguration", "NetworkPolicy", "PodDisruptionBudget", "PriorityClass", "Role", "RoleBinding",
    "RuntimeClass", "Service", "StatefulSet", "StorageClass", "ValidatingWebhookConfiguration",
})  # fmt: skip

#: Leaves that are filled in while things run: a webhook's authority, and the note of `kubectl rollout restart`.
_BY_RIGHT = frozenset({"f:caBundle", "f:kubectl.kubernetes.io/restartedAt"})
_META = frozenset({"f:metadata"})


def state_of(obj: Object) -> str:
    """Digest (16 hex digits) of who owns what; the object needs its kind and metadata only."""
    notes = _notes(obj)
    ours = sorted(json.dumps(fields, sort_keys=True) for manager, _, fields in notes if manager in OURS)
    content = [ours, [list(row) for row in strangers(obj)]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def strangers(obj: Object) -> list[tuple[str, str]]:
    """(manager, time) of those who set what the object does, beside us; none for kinds where others may."""
    if obj["kind"] not in STEADY:
        return []
    left = ((manager, time, _without(fields, _META)) for manager, time, fields in _notes(obj) if manager not in OURS)
    return sorted((manager, time) for manager, time, fields in left if fields)


def editor(obj: Object) -> str:
    """The last who wrote to it and is not us: "kubectl-edit at 2026-11-22T22:27:13Z", "" if there is none."""
    others = [(time, manager) for manager, time, _ in _notes(obj) if manager not in OURS]
    return "{1} at {0}".format(*max(others)) if others else ""


def _notes(obj: Object) -> list[tuple[str, str, dict[str, Any]]]:
    """(manager, time, fields) of every write to the object itself (not its status or scale), fields that count."""
    rows = [row for row in obj["metadata"].get("managedFields") or () if not row.get("subresource")]
    aggregated = any("f:aggregationRule" in (row.get("fieldsV1") or {}) for row in rows)
    drop = _BY_RIGHT | ({"f:rules"} if aggregated else set())  # the API's own controller gathers these
    found = ((row.get("manager", ""), row.get("time", ""), _without(row.get("fieldsV1") or {}, drop)) for row in rows)
    return [row for row in found if row[2]]


def _without(fields: Mapping[str, Any], drop: Collection[str]) -> dict[str, Any]:
    """Less these keys at any depth, and what is empty because of that."""
    kept: dict[str, Any] = {}
    for key, inner in fields.items():
        if key in drop:
            continue
        rest = _without(inner, drop)
        if rest or not inner:
            kept[key] = rest
    return kept
