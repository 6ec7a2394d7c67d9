"""Everything that happens to the objects of a list, in order and with nothing left out: the API's watch, in a thread.

Looking again and again misses what came and went in between. A check that says "never" must not.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from arena_install.errors import ArenaError
from arena_install.verify.kube import Kube, Object

_READ = 30.0  # seconds after which the server ends a watch, and it is taken up again where it ended


@dataclass(frozen=True)
class Change:
    """type: ADDED, MODIFIED or DELETED. at: seconds since the watch began, when it was heard of."""

    type: str
    object: Object
    at: float

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def over(self) -> bool:
        """Of a pod: whether it holds nothing any more."""
        return self.type == "DELETED" or self.object["status"].get("phase") in ("Succeeded", "Failed")


class Watch:
    """changes: all so far; those that were there before come first, as ADDED. broken: why something may be missing."""

    def __init__(self, kube: Kube, path: str, query: dict[str, str]) -> None:
        self._kube, self._path, self._query = kube, path, query
        self.changes: list[Change] = []
        self.broken = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        listed = kube.get(path, **query)
        for item in listed.get("items") or []:
            self.changes.append(Change("ADDED", item, 0.0))
        self._version = str(listed["metadata"]["resourceVersion"])
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)
        self._thread.start()

    def named(self, name: str) -> list[Object]:
        """The states of one object, in order."""
        return [change.object for change in list(self.changes) if change.name == name]

    def end(self) -> None:
        """Stop listening; the thread ends with the server's answer, and nothing waits for it."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set() and not self.broken:
            try:
                self._listen()
            except ArenaError as error:
                self.broken = error.why or error.what
            except (OSError, ValueError):  # the connection was cut: go on after the last change heard
                self._ended.wait(0.5)

    def _listen(self) -> None:
        """One request, until the server ends it."""
        query = {**self._query, "watch": "true", "resourceVersion": self._version, "timeoutSeconds": str(int(_READ))}
        for line in self._kube.lines(f"{self._path}?{urlencode(query)}", _READ + 5):
            row: dict[str, Any] = json.loads(line)
            if row["type"] == "ERROR":
                self.broken = str(row["object"].get("message") or row["object"])
                return
            self._version = str(row["object"]["metadata"]["resourceVersion"])
            if row["type"] != "BOOKMARK":
                self.changes.append(Change(row["type"], row["object"], time.monotonic() - self._started))
            if self._ended.is_set():
                return


@contextlib.contextmanager
def watching(kube: Kube, path: str, **query: str) -> Iterator[Watch]:
    """Listen from now until the block ends. Raises ApiError where the list can't be read."""
    watch = Watch(kube, path, query)
    try:
        yield watch
    finally:
        watch.end()
