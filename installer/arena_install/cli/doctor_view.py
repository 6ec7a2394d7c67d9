"""A diagnosis on one screen: the cause first, what was seen, what follows from it, the commands that mend it last."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.diagnosis import Cause, Counts, Diagnosis, Note
    from arena_install.pipeline.shell import Shell
    from arena_install.probe.facts import Facts

_CAUSES = 5  # told on one screen
_SEEN = 4  # lines of evidence a cause
_FOLLOWS = 4
_NOTES = 4
_LONG = 240  # characters of a line of evidence

console = Console(highlight=False)


def tell_diagnosis(diagnosis: Diagnosis, facts: Facts, shell: Shell, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(as_dict(diagnosis, facts, shell)))
        return
    if diagnosis.causes:
        _tell_causes(diagnosis)
    else:
        _tell_well(diagnosis)
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


def _tell_causes(diagnosis: Diagnosis) -> None:
    for cause in diagnosis.causes[:_CAUSES]:
        _tell_cause(cause, diagnosis.cluster)
    if len(diagnosis.causes) > _CAUSES:
        console.print(f"  and {len(diagnosis.causes) - _CAUSES} more: arena-install doctor --json", style="dim")


def _tell_cause(cause: Cause, cluster: str) -> None:
    where = ", ".join(cause.hosts) or f"cluster {cluster}"
    title = Text.assemble((f"✗ {where}: ", "bold red"), (cause.what, "bold"), (f"  [{cause.link}]", "dim"))
    console.print(title)
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(width=9, style="dim")
    rows.add_column(overflow="fold")
    seen = [_short(line) for line in cause.seen[:_SEEN]]
    if len(cause.hosts) > 1 and seen:
        seen[0] = f"{cause.hosts[0]}: {seen[0]}"
    for index, line in enumerate(seen):
        rows.add_row("seen" if index == 0 else "", Text(line))
    follows = _few(cause.follows)
    for index, line in enumerate(follows):
        rows.add_row("leads to" if index == 0 else "", Text(_short(line), "dim"))
    console.print(Padding(rows, (0, 0, 1, 4)))


def _few(lines: tuple[str, ...]) -> list[str]:
    if len(lines) <= _FOLLOWS:
        return list(lines)
    return [*lines[: _FOLLOWS - 1], f"and {len(lines) - _FOLLOWS + 1} more"]


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONG else line[: _LONG - 1] + "…"


def _tell_note(note: Note) -> None:
    where = ", ".join(note.hosts)
    console.print(Text.assemble((f"! {where}: " if where else "! ", "yellow"), note.text))


def _tell_fixes(diagnosis: Diagnosis, shell: Shell) -> None:
    """Lines to copy: none is broken, none is shortened."""
    rows = [(cause.link, cause.hosts, cause.fixes) for cause in diagnosis.causes[:_CAUSES]]
    if not rows:
        rows = [("", note.hosts, note.fixes) for note in diagnosis.notes[:_NOTES]]
    rows = [row for row in rows if row[2]]
    if not rows:
        return
    console.print()
    for link, hosts, fixes in rows:
        others = f"; the same on {', '.join(hosts[1:])}" if len(hosts) > 1 and any(fix.host for fix in fixes) else ""
        console.print(Text(f"mend {link}{others}".rstrip(), "bold green" if diagnosis.causes else "green"))
        for line in shell.lines(fixes):
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
