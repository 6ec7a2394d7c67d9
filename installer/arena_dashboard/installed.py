"""What arena-install has installed, of its ledger in the cluster, and whether it is ready now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from arena_cli.kube.client import Client, at
from arena_cli.look.model import Object
from arena_install.errors import ArenaError

_LEDGER = at("v1", "configmaps", "arena-install-system", "arena-install-ledger")
_PLURALS = {"Deployment": "deployments", "DaemonSet": "daemonsets", "StatefulSet": "statefulsets"}
_FRESH = 5.0  # seconds for which an answer serves everybody


@dataclass(frozen=True)
class Component:
    """state: "ready", or what is wrong."""

    name: str
    version: str
    state: str


class Installed:
    """own: makes a client with the server's own account, whose token changes by the hour."""

    def __init__(self, own: Callable[[], Client]) -> None:
        self._own = own
        self._last: tuple[float, tuple[Component, ...], str] = (0.0, (), "")

    def look(self) -> tuple[tuple[Component, ...], str]:
        """(components by name, why there are none)"""
        at_, found, note = self._last
        if time.monotonic() - at_ > _FRESH or not at_:
            found, note = self._ask()
            self._last = time.monotonic(), found, note
        return found, note

    def _ask(self) -> tuple[tuple[Component, ...], str]:
        try:
            client = self._own()
            ledger = client.find(_LEDGER)
            rows = {name: json.loads(text) for name, text in ((ledger or {}).get("data") or {}).items()}
            wanted = [
                (name, obj) for name, row in rows.items() for obj in row.get("objects", ()) if obj["kind"] in _PLURALS
            ]
            seen = client.together([partial(_workload, client, obj) for _, obj in wanted])
        except (ArenaError, ValueError, KeyError) as error:
            return (), f"what is installed can't be read: {error}"
        mine: dict[str, list[Object | None]] = {name: [] for name in rows}
        for (name, _), obj in zip(wanted, seen, strict=True):
            mine[name].append(obj)
        return tuple(
            Component(name, str(rows[name].get("version", "")), state(rows[name], mine[name])) for name in sorted(rows)
        ), ""


def _workload(client: Client, obj: Mapping[str, Any]) -> Object | None:
    return client.find(at(obj["api_version"], _PLURALS[obj["kind"]], obj["namespace"], obj["name"]))


def state(entry: Mapping[str, Any], workloads: Iterable[Object | None]) -> str:
    """entry: of the ledger. workloads: None for one that is gone."""
    if entry.get("status") != "done":
        return {"intent": "being installed", "leaving": "being removed"}.get(str(entry.get("status")), "not installed")
    wanted = ready = 0
    for obj in workloads:
        if obj is None:
            return "a part of it is gone"
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if "desiredNumberScheduled" in status:
            wanted += int(status["desiredNumberScheduled"])
            ready += int(status.get("numberReady", 0))
        else:
            wanted += int(spec.get("replicas", 1))
            ready += int(status.get("readyReplicas", 0))
    return "ready" if ready >= wanted else f"{ready} of {wanted} pods ready"
