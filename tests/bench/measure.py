"""Seconds and memory of commands, taken in turns in one run, and the table that holds them against their bars."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

BIN = Path(sys.executable).parent
_PR_SET_CHILD_SUBREAPER = 36
_BETWEEN_SAMPLES = 0.05  # seconds


@dataclass(frozen=True)
class Row:
    """ours and theirs in `unit`; the ratio of the two must not be above the bar. theirs 0: ours itself must not."""

    measure: str
    ours: float
    theirs: float
    unit: str
    bar: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else self.ours

    @property
    def holds(self) -> bool:
        return self.ratio <= self.bar


def median_seconds(
    commands: Mapping[str, Sequence[str]], rounds: int, env: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Median wall time of each command by hyperfine, the order reversed from round to round, after one unmeasured run.

    Raises CalledProcessError when a command fails: a time of something that did not work says nothing.
    """
    taken: dict[str, list[float]] = {name: [] for name in commands}
    names = list(commands)
    for turn in range(rounds):
        order = names if turn % 2 == 0 else names[::-1]
        for name in order:
            taken[name] += _hyperfine(commands[name], 1 if turn == 0 else 0, env)
    return {name: statistics.median(times) for name, times in taken.items()}


def _hyperfine(command: Sequence[str], warmup: int, env: Mapping[str, str] | None) -> list[float]:
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run(
            ["hyperfine", "-N", "--warmup", str(warmup), "--runs", "1", "--export-json", out.name, shlex.join(command)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        times: list[float] = json.loads(Path(out.name).read_text())["results"][0]["times"]
    return times


def peak_memory(command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Bytes that the command's whole process tree had at most: the sum of proportional set sizes, sampled.

    Processes that leave the tree (ssh's masters) come back to us, count, and are ended. Raises CalledProcessError.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(_pss(pid) for pid in _descendants(os.getpid())))
        time.sleep(_BETWEEN_SAMPLES)
    for pid in _descendants(os.getpid()):
        os.kill(pid, signal.SIGTERM)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return peak


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread lists those that it started
        try:
            children += [int(word) for word in thread.read_text().split()]
        except OSError:  # it has just ended
            continue
    return [each for child in children for each in (child, *_descendants(child))]


def _pss(pid: int) -> int:
    """Bytes; pages shared by n processes count for a nth in each."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def show(rows: Sequence[Row], notes: Sequence[str], file: Path) -> None:
    """The table on the terminal, the same as JSON in the file."""
    table = Table("measure", "ours", "theirs", "ratio", "bar", "")
    for row in rows:
        theirs = f"{row.theirs:.2f} {row.unit}" if row.theirs else ""
        ratio = f"{row.ratio:.2f}" if row.theirs else ""
        verdict = "holds" if row.holds else "MISSES"
        table.add_row(row.measure, f"{row.ours:.2f} {row.unit}", theirs, ratio, f"{row.bar:g}", verdict)
    console = Console(width=130 if not sys.stdout.isatty() else None)
    console.print(table)
    for note in notes:
        console.print(f"  {note}", highlight=False)
    given = [{**asdict(row), "ratio": row.ratio, "holds": row.holds} for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"rows": given, "notes": list(notes)}, indent=1) + "\n")
    console.print(f"  also in {file}", highlight=False)
