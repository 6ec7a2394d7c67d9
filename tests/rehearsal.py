"""One fault in one running cluster, by the commands that a user has: pass -> fail -> mend -> pass.

What is seen is written down as it comes (build/faults/<fault>.json), so that a long run can be taken up where it ended,
and the page docs/faults.md says nothing but what ran.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import grimp

from arena_install.lab.faults import Fault
from arena_install.verify import registry
from arena_install.verify.model import Check

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "build/faults"
PAGE = REPOSITORY / "docs/faults.md"
_ROW = re.compile(r"^\| `(?P<fault>[^`]+)` \|.*\| \d{4}-\d\d-\d\d `(?P<digest>[0-9a-f]+)` \|$")
_MARKS = ("✗", "!")
_SETTLE, _PAUSE = 120.0, 5.0  # seconds that a mended cluster has to come to rest; between two looks


@dataclass
class Seen:
    """What one rehearsal saw. seconds: of each step. during: check -> status while the fault was in. problems: what was
    not as the fault declares; empty when all was."""

    fault: str
    digest: str
    thorough: bool
    started: float  # Unix seconds
    seconds: dict[str, float] = field(default_factory=dict)
    during: dict[str, str] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)  # of `fails`
    doctor: str = ""  # its first cause
    aside: dict[str, str] = field(
        default_factory=dict
    )  # what did not pass before, and is no part of it: check -> cause
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems and {"before", "inject", "during", "mend", "after"} <= set(self.seconds)

    def save(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self.fault}.json").write_text(json.dumps({**asdict(self), "good": self.good}, indent=1) + "\n")


def on_page() -> dict[str, tuple[str, str]]:
    """Fault -> (digest, its row) of those that the page says were as declared: what was seen on other machines."""
    text = PAGE.read_text() if PAGE.is_file() else ""
    rows = [(line, _ROW.match(line)) for line in text.splitlines()]
    return {found["fault"]: (found["digest"], line) for line, found in rows if found}


def load(fault: str) -> Seen | None:
    path = RESULTS / f"{fault}.json"
    if not path.is_file():
        return None
    data = json.loads(path.read_text())
    data.pop("good")
    return Seen(**data)


class Rehearsal:
    """Faults in one lab, one after the other. What has passed since the last one was mended is not asked again.

    Beside the checks that a fault names, all that only read are run, to see that nothing else fails; with `thorough`
    every check there is. `narrow` leaves out even the former, and writes nothing down.
    """

    def __init__(self, lab: str, *, thorough: bool = False, narrow: bool = False) -> None:
        self.lab, self.thorough, self.narrow = lab, thorough, narrow
        self._well: set[str] = set()
        #: What did not pass before and that no fault named: it is not compared, and the result says so.
        self._aside: dict[str, str] = {}

    def run(self, fault: Fault) -> Seen:
        seen = Seen(fault.name, digest(fault), self.thorough, time.time())
        named = {*fault.fails, *fault.also, *fault.may}
        ids = self._beside() | named
        for id in named:
            self._aside.pop(id, None)  # what the fault names is asked anew, and has to pass
        self._passes(fault, ids - self._well, "before", seen)
        if seen.problems:
            return seen
        self._well.clear()
        # Those that need what fails: not worth their time before and after, and narrowly not even then; a small cluster
        # lacks what some of them need besides.
        left_out = set() if self.narrow else allowed(fault, registry.load())
        try:
            self._timed(seen, "inject", lambda: self._fault(fault.name))
            found = self._timed(seen, "during", lambda: self.verify(ids | left_out))
            self._judge(fault, found, seen)
            if fault.doctor:
                self._doctor(fault, seen)
        finally:
            self._timed(seen, "mend", lambda: self._fault(fault.name, "--mend"))
            self._save(seen)
        self._passes(fault, ids, "after", seen)
        return seen

    def _passes(self, fault: Fault, ids: set[str], when: str, seen: Seen) -> None:
        """The checks that the fault names pass, and what passed before passes after it."""
        ask = self._settled if when == "after" else self.verify
        found = self._timed(seen, when, lambda: ask(ids) if ids else {})
        if when == "before":
            named = {*fault.fails, *fault.also, *fault.may}
            self._aside |= {id: row["cause"] for id, row in self._broken(found) if id not in named}
        seen.aside = dict(self._aside)
        problems = [f"{id} did not pass {when}: {row['cause']}" for id, row in self._broken(found)]
        if not problems:
            self._well |= set(found) - set(self._aside)
        seen.problems += problems
        self._save(seen)

    def _settled(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """As verify; what does not pass is asked again for a while: controllers that lost the API start anew."""
        found, deadline = self.verify(ids), time.monotonic() + _SETTLE
        while (left := {id for id, _ in self._broken(found)}) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            found |= self.verify(left)
        return found

    def mend_all(self) -> None:
        self._command("lab", "fault", "--mend-all", "--name", self.lab)

    def verify(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """check -> {"status", "cause", "fix"} for these and what they need."""
        chosen = [part for id in ids for part in ("--check", id)]
        done = self._command("verify", "--name", self.lab, "--json", *chosen, good=(0, 1, 3, 5))
        tests = json.loads(done.stdout)["results"]["tests"]
        return {
            test["name"]: {
                "status": test["rawStatus"],
                "cause": test["extra"]["cause"],
                "fix": test["extra"]["fix"],
            }
            for test in tests
        }

    def _save(self, seen: Seen) -> None:
        if not self.narrow:
            seen.save()

    def _beside(self) -> set[str]:
        if self.narrow:
            return set()
        checks = list(registry.load().values())
        return {check.id for check in (checks if self.thorough else registry.reading(checks))}

    def _judge(self, fault: Fault, found: dict[str, dict[str, str]], seen: Seen) -> None:
        seen.during = {id: row["status"] for id, row in found.items()}
        seen.causes = {id: found[id]["cause"] for id in fault.fails}
        checks = registry.load()
        broken, declared = {id for id, _ in self._broken(found)}, expected(fault, checks) & set(found)
        for id in fault.fails:
            row = found[id]
            if row["status"] not in ("fail", "error"):
                seen.problems.append(f"{id} should fail, it says {row['status']}")
            elif row["cause"].startswith("the check itself broke") or not row["cause"] or not row["fix"]:
                seen.problems.append(f"{id} fails without saying why and what mends it: {row}")
        seen.problems += [
            f"{id} is {found[id]['status']} too: {found[id]['cause']}" for id in sorted(broken - allowed(fault, checks))
        ]
        seen.problems += [
            f"{id} is declared to fail too, and passes" for id in sorted(declared - broken - {*fault.fails})
        ]

    def _broken(self, found: dict[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
        return [(id, row) for id, row in found.items() if row["status"] != "pass" and id not in self._aside]

    def _doctor(self, fault: Fault, seen: Seen) -> None:
        done = self._timed(seen, "doctor", lambda: self._command("doctor", "--name", self.lab, good=(0, 1, 3)))
        seen.doctor = first_cause(done.stdout)
        if fault.doctor.lower() not in seen.doctor.lower():
            seen.problems.append(f"doctor's first cause lacks {fault.doctor!r}: {seen.doctor or 'it found nothing'}")

    def _fault(self, name: str, *more: str) -> None:
        self._command("lab", "fault", name, "--name", self.lab, *more)

    def _command(self, *arguments: str, good: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "arena_install", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=1800,
            check=False,
        )
        if done.returncode not in good:
            raise AssertionError(
                f"{' '.join(arguments)} ended {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def _timed(self, seen: Seen, step: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return work()
        finally:
            seen.seconds[step] = round(time.monotonic() - started, 1)


def expected(fault: Fault, checks: dict[str, Check]) -> set[str]:
    """The checks that do not pass under a fault: those that it names, and what needs one of them."""
    found = {*fault.fails, *fault.also}
    while more := {check.id for check in checks.values() if found & set(check.needs)} - found:
        found |= more
    return found


def allowed(fault: Fault, checks: dict[str, Check]) -> set[str]:
    """Those, and the ones that need not pass beside them."""
    return expected(fault.model_copy(update={"also": (*fault.also, *fault.may)}), checks)


def digest(fault: Fault) -> str:
    """Of what a result is about: the fault, and the code of the checks that it names."""
    total = hashlib.sha256(fault.model_dump_json(exclude={"source", *(() if fault.may else ("may",))}).encode())
    checks = registry.load()
    for file in _code({checks[id].run.__module__ for id in (*fault.fails, *fault.also)}):
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def _code(modules: set[str]) -> list[Path]:
    """The files of these modules, of what they import from verify, and of the payloads that one of those speaks of; but
    not of what most checks stand on, which other faults show to work."""
    folder = REPOSITORY / "installer/arena_install/verify"
    names = {name for module in modules for name in (module, *_below(module))} - _common()
    paths = (folder.parents[1] / name.replace(".", "/") for name in names if name.startswith("arena_install.verify."))
    files = [path.with_suffix(".py") for path in paths if path.with_suffix(".py").is_file()]
    text = "".join(file.read_text() for file in files)
    return sorted(files) + sorted(file for file in (folder / "payloads").glob("*.*") if file.name in text)


def _below(module: str) -> frozenset[str]:
    return frozenset(_imports().find_upstream_modules(module))


@cache
def _common() -> frozenset[str]:
    """Modules that more than a third of the modules with checks import."""
    modules = {check.run.__module__ for check in registry.load().values()}
    found = Counter(name for module in modules for name in _below(module))
    return frozenset(name for name, times in found.items() if 3 * times > len(modules))


@cache
def _imports() -> grimp.ImportGraph:
    return grimp.build_graph("arena_install", exclude_type_checking_imports=True, cache_dir=None)


def first_cause(screen: str) -> str:
    """What `doctor` shows first: its first line with a mark, and what is indented below it."""
    lines: list[str] = []
    for line in screen.splitlines():
        if line[:1] in _MARKS:
            if lines:
                break
            lines.append(line[1:].strip())
        elif lines:
            lines.append(line.strip())
    return "\n".join(filter(None, lines))
