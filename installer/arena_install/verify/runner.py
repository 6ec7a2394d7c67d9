"""Runs checks: in the order of their needs, side by side where they share nothing, each within its own time.

Threads, because a check mostly waits for the API. A thread can't be killed: a check that overstays is reported as timed
out and left to end by itself (it is a daemon, and every wait in it notices). Results are events as they come.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace

from arena_install.errors import ArenaError, TimedOutError
from arena_install.events import Event
from arena_install.events import Outcome as Ending
from arena_install.verify import needs
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Check, Outcome, Result, Status, skipped
from arena_install.verify.session import Interrupted, Session

#: How many checks run at once; they wait for pods, and a small cluster starts only so many.
PARALLEL = 4
#: Seconds beyond its timeout that a check is given to notice, before it is left behind.
GRACE = 40.0

_ENDINGS: dict[Status, Ending] = {"pass": "ok", "fail": "failed", "error": "failed", "skip": "skipped"}


class Runner:
    def __init__(self, session: Session, checks: Sequence[Check], parallel: int = PARALLEL) -> None:
        self._session = session
        self._checks = list(checks)
        self._ids = {check.id for check in checks}
        self._late = _late(checks)
        self._parallel = parallel
        self._finished: queue.Queue[Result] = queue.Queue()
        self._running: dict[str, tuple[Check, Context]] = {}
        self.results: dict[str, Result] = {}

    def run(self) -> None:
        """Run them all; `results` fills up. KeyboardInterrupt passes through and leaves what is known so far."""
        waiting = list(self._checks)
        while waiting or self._running:
            waiting = self._start_ready(waiting)
            if not self._running:
                continue
            try:
                self._record(self._finished.get(timeout=0.2))
            except queue.Empty:
                self._leave_behind()

    def abandon(self, reason: str) -> None:
        """Everything without a result becomes a skip with this reason. Checks that run are told to stop."""
        self._session.cancelled.set()
        for check in self._checks:
            if check.id not in self.results:
                self._record(_result(check, skipped(reason), time.time(), 0.0))

    def leave_out(self, checks: Sequence[Check], reason: str) -> None:
        """Note as skipped, and not required in this run, what was not given to it to run."""
        for check in checks:
            self._record(_result(replace(check, required=False), skipped(reason), time.time(), 0.0))

    def _start_ready(self, waiting: list[Check]) -> list[Check]:
        """Start what can be started, skip what can't any more; gives what still has to wait."""
        later: list[Check] = []
        for check in waiting:
            if (need := self._broken_need(check)) is not None:
                word = {"fail": "failed", "error": "could not be run", "skip": "was skipped"}[need.status]
                outcome = skipped(f"needs {need.id}, which {word}")
                self._record(replace(_result(check, outcome, time.time(), 0.0), blocked_by=need.id))
            elif self._pending(check):
                later.append(check)
            elif (condition := self._unmet_condition(check)) is not None:
                self._record(_result(check, skipped(condition[0], fix=condition[1]), time.time(), 0.0))
            elif self._occupied(check):
                later.append(check)
            else:
                self._start(check)
        return later

    def _broken_need(self, check: Check) -> Result | None:
        """The result of a check that this one needs and that did not pass."""
        found = (self.results[need] for need in check.needs if need in self.results)
        return next((result for result in found if result.status != "pass"), None)

    def _unmet_condition(self, check: Check) -> tuple[str, str] | None:
        """(reason, fix) of the first condition that does not hold."""
        found = (needs.unmet(need, self._session.facts) for need in check.needs if needs.is_condition(need))
        return next((unmet for unmet in found if unmet is not None), None)

    def _pending(self, check: Check) -> bool:
        if check.last and any(not other.last and other.id not in self.results for other in self._checks):
            return True
        if check.id in self._late and any(
            not other.last and other.id not in self._late and other.id not in self.results for other in self._checks
        ):
            return True
        return any(need in self._ids and need not in self.results for need in check.needs)

    def _occupied(self, check: Check) -> bool:
        if self._running and (check.alone or any(other.alone for other, _ in self._running.values())):
            return True
        held = {name for other, _ in self._running.values() for name in other.holds}
        return bool(held & set(check.holds)) or len(self._running) >= self._parallel

    def _start(self, check: Check) -> None:
        context = Context(self._session, check)
        self._running[check.id] = (check, context)
        self._session.emit(Event("start", f"verify/{check.id}", check.title))
        threading.Thread(target=self._one, args=(check, context), name=check.id, daemon=True).start()

    def _one(self, check: Check, context: Context) -> None:
        started, clock = time.time(), time.monotonic()
        code = 0
        try:
            outcome = check.run(context)
        except Interrupted:
            outcome = skipped("the run was interrupted")
        except CheckFailed as error:
            outcome, code = Outcome("fail", check.proves, error.what, error.why, error.fix), 1
        except TimedOutError as error:
            fix = error.fix or "see the evidence of this check; arena-install doctor looks at the hosts"
            outcome, code = Outcome("fail", check.proves, error.what, error.why or error.what, fix), error.exit_code
        except ArenaError as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            outcome, code = Outcome("error", check.proves, what, error.why or what, error.fix), error.exit_code
        except Exception as error:
            context.save("traceback.txt", traceback.format_exc())
            cause = f"the check itself broke: {type(error).__name__}: {error}"
            outcome, code = Outcome("error", check.proves, "", cause, "report this with the check's evidence"), 1
        outcome = replace(outcome, evidence=tuple(dict.fromkeys((*outcome.evidence, *context.evidence))))
        self._finished.put(_result(check, outcome, started, time.monotonic() - clock, code))

    def _leave_behind(self) -> None:
        now = time.monotonic()
        for check, context in list(self._running.values()):
            if now > context.deadline + GRACE:
                context.abandoned.set()
                seconds = check.timeout + GRACE
                outcome = Outcome(
                    "fail",
                    check.proves,
                    f"not done after {seconds:.0f} s",
                    f"the check got no answer within {check.timeout:.0f} s",
                    "see the evidence of this check; arena-install doctor looks at the hosts",
                    context.evidence,
                )
                self._record(_result(check, outcome, time.time() - seconds, seconds, TimedOutError.exit_code))

    def _record(self, result: Result) -> None:
        """First result counts: a check that was left behind may still report."""
        started = self._running.pop(result.id, None)
        if result.id in self.results:
            return
        self.results[result.id] = result
        outcome = result.outcome
        if started is None:
            self._session.emit(Event("start", f"verify/{result.id}", result.title))
        text = outcome.observed if outcome.status == "pass" else outcome.cause or outcome.observed
        data = {"seconds": result.seconds, "status": outcome.status, "fix": outcome.fix}
        self._session.emit(
            Event("end", f"verify/{result.id}", text.splitlines()[0] if text else "", _ENDINGS[outcome.status], data)
        )


def _result(check: Check, outcome: Outcome, started: float, seconds: float, code: int = 0) -> Result:
    return Result(
        check.id, check.title, check.proves, check.suite, check.severity, check.required, check.needs, outcome,
        started, seconds, code or (1 if outcome.status in ("fail", "error") else 0),
    )  # fmt: skip


def _late(checks: Sequence[Check]) -> set[str]:
    """Ids of the checks that run alone, and of those that need one: they come when all others are done."""
    late = {check.id for check in checks if check.alone}
    while more := {check.id for check in checks if late & set(check.needs)} - late:
        late |= more
    return late
