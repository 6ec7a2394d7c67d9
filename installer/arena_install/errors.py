"""Errors a user sees. Each says what happened, where (file:line or host), why, and the next command to try.

The exit code is part of the type, so that no caller has to translate: 0 done, 1 a check or step failed, 2 usage or
configuration, 3 a host or the API is unreachable, 4 `plan --detailed-exitcode` found changes, 5 timed out,
130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence


class ArenaError(Exception):
    """A failure with an explanation; `str(error)` is what the terminal shows.

    what: one line, what could not be done. where: "hosts.ini:12", "host lab-w1" or "". why: the cause as known,
    may have several lines. fix: what to do next, best a command.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        lines = [
            head,
            *(f"  why: {line}" if i == 0 else f"       {line}" for i, line in enumerate(self._lines(self.why))),
        ]
        lines += [f"  fix: {line}" if i == 0 else f"       {line}" for i, line in enumerate(self._lines(self.fix))]
        return "\n".join(lines)

    @staticmethod
    def _lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip()]

    def as_dict(self) -> dict[str, object]:
        return {"what": self.what, "where": self.where, "why": self.why, "fix": self.fix, "exit_code": self.exit_code}


class StepError(ArenaError):
    """A step of the pipeline ran and failed (exit 1)."""


class ConfigError(ArenaError):
    """What the user wrote can't be meant so (exit 2)."""

    exit_code = 2


class UnreachableError(ArenaError):
    """A host or the API does not answer (exit 3)."""

    exit_code = 3


class TimedOutError(ArenaError):
    """A bounded wait ran out (exit 5)."""

    exit_code = 5


class ErrorGroup(ArenaError):
    """Several errors shown together; the exit code is that of the first."""

    def __init__(self, errors: Sequence[ArenaError]) -> None:
        if not errors:
            raise ValueError("an ErrorGroup needs at least one error")
        super().__init__(errors[0].what, where=errors[0].where, why=errors[0].why, fix=errors[0].fix)
        self.errors = tuple(errors)
        self.exit_code = errors[0].exit_code

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def as_dict(self) -> dict[str, object]:
        return {"errors": [error.as_dict() for error in self.errors], "exit_code": self.exit_code}
