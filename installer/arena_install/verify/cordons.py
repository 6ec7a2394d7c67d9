"""Nodes that a drill keeps new pods away from, and that take pods again however the drill ends.

Three hands undo it: the check itself, the end of the run (also of one that is interrupted), and, for a run that was
killed, the beginning of the next one, by a mark on the node. A node that somebody else has cordoned is never touched.
"""

from __future__ import annotations

import threading
import time

from arena_install.errors import ArenaError, StepError
from arena_install.verify.kube import Kube, Object, segment

MARK = "arena-install.local/cordoned"  # annotation: "<run> <Unix seconds after which that run is dead>"
_LIFETIME = 600.0  # seconds; longer than any drill may take


class Cordons:
    """Thread-safe. `close` undoes what is left, and lets nothing new begin."""

    def __init__(self, kube: Kube, id: str) -> None:
        self._kube, self._id = kube, id
        self._lock = threading.Lock()
        self._made: set[str] = set()
        self._closed = False

    def cordon(self, node: str) -> None:
        """Let the scheduler put no new pod there. Raises ApiError, and StepError where the run is ending or the node is
        cordoned already."""
        with self._lock:
            if self._closed:
                raise StepError(f"node {node} was not cordoned", why="this run is ending")
            if self._kube.get(_path(node))["spec"].get("unschedulable"):
                raise StepError(f"node {node} was not cordoned", why="somebody else has done that already")
            self._made.add(node)  # before the request: whatever becomes of it, it is undone
            mark = f"{self._id} {time.time() + _LIFETIME:.0f}"
            self._kube.patch(_path(node), {"metadata": {"annotations": {MARK: mark}}, "spec": {"unschedulable": True}})

    def uncordon(self, node: str) -> None:
        with self._lock:
            if node in self._made:
                _undo(self._kube, node)
                self._made.discard(node)

    def close(self) -> list[str]:
        """Undo all that is left. Returns what could not be done, one line each."""
        problems = []
        with self._lock:
            self._closed = True
            for node in sorted(self._made):
                try:
                    _undo(self._kube, node)
                    self._made.discard(node)
                except ArenaError as error:
                    problems.append(
                        f"node {node} is still cordoned: {error.why or error.what}; kubectl uncordon {node}"
                    )
        return problems

    def sweep(self) -> list[str]:
        """Undo what runs that are dead have left. Returns the nodes' names."""
        found = []
        for node in self._kube.items("/api/v1/nodes"):
            _, _, until = _mark(node).partition(" ")
            if until.isdigit() and int(until) < time.time():
                name = str(node["metadata"]["name"])
                _undo(self._kube, name)
                found.append(name)
        return found


def _undo(kube: Kube, node: str) -> None:
    """Only where our mark is: who cordoned it after us, or took our mark away, has decided otherwise."""
    now = kube.find(_path(node))
    if now is not None and _mark(now):
        kube.patch(_path(node), {"metadata": {"annotations": {MARK: None}}, "spec": {"unschedulable": None}})


def _mark(node: Object) -> str:
    return str((node["metadata"].get("annotations") or {}).get(MARK, ""))


def _path(node: str) -> str:
    return f"/api/v1/nodes/{segment(node)}"
