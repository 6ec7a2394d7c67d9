"""A Report on the terminal: a line for each check, and for what failed the cause first and the mending command last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from arena_install.verify.model import Report, Result

_MARKS = {"pass": ("✓", "green"), "fail": ("✗", "bold red"), "error": ("✗", "bold red"), "skip": ("–", "yellow")}


def render(report: Report, console: Console, folder: Path | None = None) -> None:
    """Print the report. folder: where it was written, named at the end."""
    console.print()
    console.print(_head(report))
    for line in _lines(report, min(console.width, 140)):
        console.print(line, soft_wrap=True)
    for result in report.roots:
        console.print()
        _explain(result, console, folder)
    if report.blocked:
        console.print()
        names = ", ".join(result.id for result in report.blocked)
        console.print(Text(f"– not run, because of these: {names}", "yellow"), soft_wrap=True)
    for remark in report.remarks:
        console.print(Text(f"! {remark}", style="yellow"), soft_wrap=True)
    console.print()
    good = report.exit_code == 0
    verdict = "interrupted" if report.interrupted else "passed" if good else "failed"
    console.print(
        Text.assemble(
            (f"{verdict}: ", "bold green" if good else "bold red"),
            report.headline,
            (f" in {span(report.finished - report.started)}", "dim"),
        )
    )
    if folder is not None:
        console.print(Text(f"  report  {folder / 'report.html'}"), soft_wrap=True)


def span(seconds: float) -> str:
    """0.4 -> "0.4s", 83 -> "1m23s"."""
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


def _plain(text: str) -> str:
    """Without control characters: what a pod said must not drive the terminal."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())


def _head(report: Report) -> Text:
    env = report.environment
    parts = [f"Kubernetes {env.kubernetes}" if env.kubernetes else "", f"{len(env.nodes)} nodes" if env.nodes else ""]
    head = Text.assemble((f"cluster {report.cluster}", "bold"), *(f" · {part}" for part in parts if part))
    if line := report.gpu_line:
        head.append(" · ")
        head.append(line, "yellow" if env.gpu == "simulated" else "")
    return head


def _lines(report: Report, width: int) -> Iterator[Text]:
    """One line for each check: mark, id, what was seen (cut to the width), time."""
    ids = max((len(result.id) for result in report.results), default=0)
    room = max(20, width - ids - 12)
    for result in report.results:
        mark, style = _MARKS[result.status]
        outcome = result.outcome
        said = outcome.observed if result.status == "pass" else (outcome.cause or outcome.observed)
        line = _plain(said).splitlines()[0] if said else ""
        line = line if len(line) <= room else line[: room - 1] + "…"
        yield Text.assemble(
            (mark, style),
            f" {result.id:<{ids}}  ",
            (f"{line:<{room}}", "dim" if result.status == "pass" else ""),
            (f" {span(result.seconds):>6}", "dim"),
        )


def _explain(result: Result, console: Console, folder: Path | None) -> None:
    mark, style = _MARKS[result.status]
    outcome = result.outcome
    suffix = " (skipped, but required)" if result.status == "skip" else ""
    console.print(Text(f"{mark} {result.title}{suffix}", style), soft_wrap=True)
    evidence = str((folder or Path()) / "evidence" / result.id) if outcome.evidence else ""
    rows = (
        ("cause", outcome.cause),
        ("expected", outcome.expected),
        ("observed", outcome.observed if outcome.observed != outcome.cause else ""),
        ("evidence", evidence),
        ("fix", outcome.fix),
    )
    for name, text in rows:
        for index, line in enumerate(_plain(text).splitlines()):
            label = name if index == 0 else ""
            console.print(
                Text.assemble("    ", (f"{label:<9}", "dim"), (line, "bold" if name == "fix" else "")), soft_wrap=True
            )
