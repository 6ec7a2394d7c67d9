"""What one check is given: the session, its own evidence folder, its own deadline, ways to wait and to look at pods."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeVar

import yaml

from arena_install.errors import StepError, TimedOutError
from arena_install.events import Event
from arena_install.verify.kube import Object
from arena_install.verify.model import Check
from arena_install.verify.redact import redacted
from arena_install.verify.session import Interrupted, Session

T = TypeVar("T")


class CheckFailed(StepError):
    """The cluster does not do what the check expects; becomes a "fail" with this cause and fix."""

    def __init__(self, observed: str, *, cause: str, fix: str) -> None:
        super().__init__(observed, why=cause, fix=fix)


class Context:
    def __init__(self, session: Session, check: Check) -> None:
        self.session, self.check = session, check
        self.kube, self.cluster, self.facts = session.kube, session.cluster, session.facts
        self.deadline = time.monotonic() + check.timeout
        self.abandoned = threading.Event()
        self._evidence: list[str] = []
        self._said = ""

    @property
    def label(self) -> str:
        """Value of the label arena-install.local/check on everything that this check makes."""
        return self.check.id

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(self._evidence)

    def progress(self, text: str, **data: Any) -> None:
        """Say what is being waited for; the same text again is not news."""
        if text == self._said:
            return
        self._said = text
        self.session.emit(Event("progress", f"verify/{self.check.id}", text, data=data))

    def save(self, name: str, content: str | Object | list[Any]) -> str:
        """Write evidence/<check id>/<name>; objects become YAML (JSON for *.json), secrets are blanked.

        Returns the path below evidence/."""
        if not isinstance(content, str):
            clean = redacted(content)
            content = (
                json.dumps(clean, indent=2) + "\n"
                if name.endswith(".json")
                else yaml.safe_dump(clean, sort_keys=False, width=120)
            )
        path = str(PurePosixPath(self.check.id) / name)
        target = self.session.evidence / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        if path not in self._evidence:
            self._evidence.append(path)
        return path

    def wait(
        self,
        look: Callable[[], T | None],
        what: str,
        *,
        seconds: float | None = None,
        every: float = 1.0,
        fix: str = "",
    ) -> T:
        """Call `look` until it gives something (not None). `what` completes "waited N s for ...".

        Raises TimedOutError at the check's deadline, or after `seconds`.
        """
        started = time.monotonic()
        until = self.deadline if seconds is None else min(self.deadline, started + seconds)
        while True:
            if self.abandoned.is_set() or self.session.cancelled.is_set():
                raise Interrupted
            if (found := look()) is not None:
                return found
            if time.monotonic() >= until:
                raise TimedOutError(f"waited {time.monotonic() - started:.0f} s for {what}", fix=fix)
            self.session.sleep(every, until)
