"""The versions of one model: which folders there are, which are served, and when one takes another's place.

A model lies in a folder; each version in a folder below it whose name is a number. The newest is served, and the one
before it only until the newer is loaded: at every moment some version answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refusal import Refusal  # type: ignore[import-not-found]  # beside this file

log = logging.getLogger("arena-serving")

#: Of the numbers that are there, those to serve.
Policy = Callable[[list[int]], set[int]]
_LATER = 60.0  # seconds at most until a version that could not be loaded is tried again


def latest(count: int = 1) -> Policy:
    return lambda numbers: set(sorted(numbers)[-count:])


@dataclass
class Version:
    """state: as ModelVersionStatus names them. loaded: what answers, None unless AVAILABLE."""

    number: int
    state: str = "START"
    loaded: Any = None
    error: Refusal | None = None
    failures: int = 0
    again: float = 0.0  # monotonic; not before then

    def as_status(self) -> dict[str, Any]:
        code, message = (self.error.code, self.error.message) if self.error else ("OK", "")
        return {
            "version": str(self.number),
            "state": self.state,
            "status": {"error_code": code, "error_message": message},
        }


class Model:
    """Thread-safe; `poll` is for one thread. load: of a version's folder, raises Refusal."""

    def __init__(
        self,
        name: str,
        folder: Path,
        load: Callable[[Path], Any],
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.folder = name, folder
        self._load, self._policy, self._clock = load, policy or latest(), clock
        self._lock = threading.Lock()
        self._versions: dict[int, Version] = {}
        self._silent = False  # whether it was said that there is nothing

    def poll(self) -> None:
        """Look at the folder, load what is new, then let go what is not to be served any more."""
        there = self._there()
        if not there:
            if not self._silent:
                log.warning(
                    "no version of model %s is below %s: a version's folder is a number", self.name, self.folder
                )
            self._silent = True
            return  # a volume that is gone for a moment is no reason to stop
        self._silent = False
        wanted = self._policy(list(there))
        for number in sorted(wanted, reverse=True):
            version = self._versions.get(number)
            if version is None or version.state == "END":
                self._try(version or Version(number), there[number])
        served = {version.number for version in self._versions.values() if version.state == "AVAILABLE"}
        if served & wanted:
            for number in served - wanted:
                self._end(self._versions[number])
        with self._lock:
            gone = [number for number, one in self._versions.items() if one.state == "END" and number not in there]
            for number in gone:
                del self._versions[number]

    def _there(self) -> dict[int, Path]:
        try:
            return {int(path.name): path for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir()}
        except OSError:
            return {}

    def _try(self, version: Version, folder: Path) -> None:
        if self._clock() < version.again:
            return
        with self._lock:
            self._versions[version.number] = version
            version.state, version.error = "LOADING", None
        began = time.monotonic()
        try:
            loaded = self._load(folder)
        except Refusal as error:
            version.failures += 1
            version.again = self._clock() + min(_LATER, 2.0**version.failures)
            with self._lock:
                version.state, version.error = "END", error
            log.error("model %s version %d can't be loaded: %s", self.name, version.number, error.message)
            return
        with self._lock:
            version.state, version.loaded = "AVAILABLE", loaded
        log.info("model %s version %d is served, loaded in %.1f s", self.name, version.number, time.monotonic() - began)

    def _end(self, version: Version) -> None:
        """Requests that it is answering keep it until they are done."""
        with self._lock:
            version.state, version.loaded = "END", None
        log.info("model %s version %d is no longer served", self.name, version.number)

    @property
    def ready(self) -> bool:
        with self._lock:
            return any(version.state == "AVAILABLE" for version in self._versions.values())

    def get(self, number: int | None = None) -> tuple[int, Any]:
        """(version, what answers) of this version, or of the newest. Raises Refusal."""
        with self._lock:
            there = {one.number: one.loaded for one in self._versions.values() if one.state == "AVAILABLE"}
        if there and number is None:
            number = max(there)
        if number is None or number not in there:
            raise unknown(self.name, number)
        return number, there[number]

    def status(self, number: int | None = None) -> list[dict[str, Any]]:
        """The newest first. Raises Refusal where there is none."""
        with self._lock:
            found = [
                version.as_status()
                for version in sorted(self._versions.values(), key=lambda one: -one.number)
                if number in (None, version.number)
            ]
        if not found:
            what = "any versions" if number is None else f"version {number}"
            raise Refusal("NOT_FOUND", f"Could not find {what} of model {self.name}")
        return found


def unknown(model: str, number: int | None) -> Refusal:
    which = f"Latest({model})" if number is None else f"Specific({model}, {number})"
    return Refusal("NOT_FOUND", f"Servable not found for request: {which}")
