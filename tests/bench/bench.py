"""What users wait for, as ratios to other tools in one run: medians, in turns, held against bars.

Nothing here is asserted by a test. Usage: bench.py [--rounds N] [--json FILE] [PART...]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fifty
import hosts
import jobs
import whole
from measure import BIN, Row, median_seconds, show

from arena_install import __version__

_HELLO = """import typer
app = typer.Typer()

@app.command()
def main(name: str = "x") -> None:
    print(name)

app()
"""


def help_rows(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(_HELLO)
        commands = {name: [str(BIN / name), "--help"] for name in ("arena-install", "arena")}
        got = median_seconds({**commands, "hello": [sys.executable, str(hello), "--help"]}, 3 * rounds)
    return [Row(f"{name} --help, against typer's hello world", got[name], got["hello"], "s", 1.5) for name in commands]


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "help": help_rows,
    "plan": fifty.rows,
    "jobs": jobs.rows,
    "hosts": hosts.rows,
    "up": whole.rows,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Ratios of what users wait for to other tools.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="measured runs of each command (default: 3)")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go as JSON")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if not shutil.which("hyperfine"):
        print("bench: hyperfine is missing\n  fix: apt-get install hyperfine", file=sys.stderr)
        return 2
    rows, notes = [], [_machine()]
    for part in given.parts or PARTS:
        print(f"measuring: {part}", file=sys.stderr)
        rows += PARTS[part](given.rounds)
    notes.append(f"load of the machine at the end: {os.getloadavg()[0]:.1f}")
    show(rows, notes, given.json)
    return 0


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d')}, arena-install {__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB"
    )


if __name__ == "__main__":
    sys.exit(main())
