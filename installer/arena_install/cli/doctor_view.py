"""A diagnosis on one screen: the cause first, what was seen, what follows from it, the commands that mend it last."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.diagnosis import Cause, Counts, Diagnosis, Note
    from arena_install.diagnosis.pod import PodDiagnosis
    from arena_install.pipeline.shell import Shell
    from arena_install.probe.facts import Facts

_CAUSES = 5  # told on one screen
_SEEN = 4  # lines of evidence a cause
_FOLLOWS = 4
_SEEN_OF_POD = 6
_NOTES = 4
_INDENT = 15  # columns
_LONG = 240  # characters of a line of evidence

# Without a terminal nothing is to be wrapped: somebody may look for words in it.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 500)


def tell_diagnosis(diagnosis: Diagnosis, facts: Facts, shell: Shell, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(as_dict(diagnosis, facts, shell)))
        return
    if diagnosis.causes:
        _tell_causes(diagnosis)
    else:
        _tell_well(diagnosis)
    if diagnosis.causes and diagnosis.notes:
        console.print()
    for note in diagnosis.notes[:_NOTES]:
        _tell_note(note)
    if len(diagnosis.notes) > _NOTES:
        console.print(f"  and {len(diagnosis.notes) - _NOTES} more: arena-install doctor --json", style="dim")
    _tell_fixes(diagnosis, shell)


def as_dict(diagnosis: Diagnosis, facts: Facts, shell: Shell) -> dict[str, object]:
    """The diagnosis with each fix as a line for a shell here, and the facts that it was made from."""
    document = diagnosis.as_dict()
    for key, fixes in (
        ("causes", [cause.fixes for cause in diagnosis.causes]),
        ("notes", [note.fixes for note in diagnosis.notes]),
    ):
        for told, lines in zip(document[key], map(shell.lines, fixes), strict=True):
            told["mend"] = lines
    return document | {"facts": facts.as_dict()}


def tell_pod(found: PodDiagnosis, shell: Shell, *, as_json: bool) -> None:
    broken = found.broken
    if as_json:
        print(json.dumps(found.as_dict() | {"mend": shell.lines(broken.fixes) if broken else []}))
        return
    where = f"pod {found.namespace}/{found.name}"
    if broken is None:
        console.print(Text.assemble(("✓ ", "bold green"), (where, "bold"), f" {found.state}"))
        return
    console.print(Text.assemble((f"✗ {where}: ", "bold red"), (broken.what, "bold"), (f"  [{found.state}]", "dim")))
    _tell_rows("seen", broken.seen[:_SEEN_OF_POD])
    console.print()
    _tell_lines("mend", shell.lines(broken.fixes))


def _tell_causes(diagnosis: Diagnosis) -> None:
    for index, cause in enumerate(diagnosis.causes[:_CAUSES]):
        if index:
            console.print()
        _tell_cause(cause, diagnosis.cluster)
    if len(diagnosis.causes) > _CAUSES:
        console.print(f"  and {len(diagnosis.causes) - _CAUSES} more: arena-install doctor --json", style="dim")


def _tell_cause(cause: Cause, cluster: str) -> None:
    where = ", ".join(cause.hosts) or f"cluster {cluster}"
    title = Text.assemble((f"✗ {where}: ", "bold red"), (cause.what, "bold"), (f"  [{cause.link}]", "dim"))
    console.print(title)
    seen = list(cause.seen[:_SEEN])
    if len(cause.hosts) > 1 and seen:
        seen[0] = f"{cause.hosts[0]}: {seen[0]}"
    _tell_rows("seen", seen)
    _tell_rows("may cause", _few(cause.follows), "dim")


def _tell_rows(word: str, lines: Iterable[str], style: str = "") -> None:
    """Lines beside a word at their left, wrapped beside it too."""
    for index, line in enumerate(lines):
        parts = textwrap.wrap(_short(line), max(20, console.width - _INDENT), break_on_hyphens=False)
        for number, part in enumerate(parts):
            left = f"    {word}" if index == number == 0 else ""
            console.print(Text.assemble((f"{left:<{_INDENT}}", "dim"), (part, style)))


def _few(lines: tuple[str, ...]) -> list[str]:
    if len(lines) <= _FOLLOWS:
        return list(lines)
    return [*lines[: _FOLLOWS - 1], f"and {len(lines) - _FOLLOWS + 1} more"]


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONG else line[: _LONG - 1] + "…"


def _tell_note(note: Note) -> None:
    where = ", ".join(note.hosts)
    lines = textwrap.wrap(f"{where}: {note.text}" if where else note.text, max(20, console.width - 2))
    for index, line in enumerate(lines):
        console.print(Text.assemble(("  " if index else "! ", "yellow"), line))


def _tell_fixes(diagnosis: Diagnosis, shell: Shell) -> None:
    """Lines to copy: none is broken, none is shortened, none is told twice in a row."""
    told = diagnosis.causes[:_CAUSES] or diagnosis.notes[:_NOTES]
    titles: dict[tuple[str, ...], list[str]] = {}
    for one in told:
        if lines := tuple(shell.lines(one.fixes)):
            titles.setdefault(lines, []).append(_title(one))
    for index, (lines, names) in enumerate(titles.items()):
        if index == 0:
            console.print()
        _tell_lines(f"mend {', '.join(filter(None, names))}".rstrip(), lines)


def _title(one: Cause | Note) -> str:
    """The link that a command mends; with the other hosts, where it is for one host."""
    link = getattr(one, "link", "")
    others = one.hosts[1:] if any(fix.host for fix in one.fixes) else ()
    return f"{link} (the same on {', '.join(others)})".strip() if others else link


def _tell_lines(title: str, lines: Iterable[str]) -> None:
    console.print(Text(title, "bold green"))
    for line in lines:
        console.print(f"  {line}", soft_wrap=True, markup=False)


def _tell_well(diagnosis: Diagnosis) -> None:
    console.print(Text.assemble(("✓ ", "bold green"), (diagnosis.cluster, "bold"), ": nothing is broken"))
    for line in _counted(diagnosis.counts):
        console.print(f"    {line}", style="dim")


def _counted(counts: Counts) -> Iterable[str]:
    yield f"{counts.reached} of {counts.hosts} hosts reached"
    if counts.nodes:
        yield f"{counts.ready} of {counts.nodes} nodes ready, DNS answers at {counts.dns} addresses"
        yield f"{counts.pods_ready} of {counts.pods} pods of the system and of {counts.components} components ready"
    if counts.gpus:
        yield f"{counts.allocatable} of {counts.gpus} GPUs allocatable" + (" (simulated)" if counts.simulated else "")
    if counts.certificates_until:
        yield f"certificates are good until {time.strftime('%Y-%m-%d', time.gmtime(counts.certificates_until))}"
