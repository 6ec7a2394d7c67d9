"""Ratios of what users wait for, against other tools, in one run: medians of alternated repetitions by hyperfine.

Nothing here is asserted by a test. Usage: bench.py [LAB]; with a lab that is up, `plan` is measured on its hosts too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent


def medians(commands: dict[str, str], runs: int) -> dict[str, float]:
    """Median seconds of each command; hyperfine's own order, warmed up once."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run(
            ["hyperfine", "-N", "--warmup", "1", "--runs", str(runs), "--export-json", out.name, *commands.values()],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        results = json.loads(Path(out.name).read_text())["results"]
    return {name: row["median"] for name, row in zip(commands, results, strict=True)}


def show(measure: str, ours: float, theirs: float, bar: float) -> None:
    verdict = "holds" if ours / theirs <= bar else "misses"
    print(f"{measure:<52} {ours:7.2f} s / {theirs:7.2f} s = {ours / theirs:5.2f}   bar {bar}: {verdict}")


def bench_help() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder) / "hello.py"
        hello.write_text(
            "import typer\napp = typer.Typer()\n\n"
            "@app.command()\ndef main(name: str = 'x') -> None:\n    print(name)\n\napp()\n"
        )
        got = medians(
            {"ours": f"{BIN}/arena-install --help", "typer": f"{sys.executable} {hello} --help"},
            10,
        )
    show("arena-install --help against typer's hello world", got["ours"], got["typer"], 1.5)


def bench_plan(lab: str) -> None:
    from arena_install.lab import inventory_file

    inventory = inventory_file(lab)
    if not inventory.exists():
        print(f"plan: skipped, there is no lab named {lab} (make one with `arena-install lab up {lab}`)")
        return
    got = medians(
        {
            "ours": f"{BIN}/arena-install plan -i {inventory} --json",
            "ansible": f"{BIN}/ansible -i {inventory} -f 50 -m setup all",
        },
        3,
    )
    show(f"plan against ansible -m setup, hosts of lab {lab}", got["ours"], got["ansible"], 0.2)


def main() -> int:
    if not shutil.which("hyperfine"):
        print("bench: hyperfine is missing\n  fix: apt-get install hyperfine", file=sys.stderr)
        return 2
    bench_help()
    bench_plan(sys.argv[1] if len(sys.argv) > 1 else "lab")
    return 0


if __name__ == "__main__":
    sys.exit(main())
