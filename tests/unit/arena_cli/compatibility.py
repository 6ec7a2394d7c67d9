"""Compares the command with what upstream offers (upstream.yaml), flag by flag, and writes docs/arena-compatibility.md:
`PYTHONPATH=installer python tests/unit/arena_cli/compatibility.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

from arena_cli.command import GLOBAL, Command, Group
from arena_cli.flags import Flag
from arena_cli.main import app
from arena_cli.verbs.absent import Absent

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[2] / "docs" / "arena-compatibility.md"
UPSTREAM = yaml.safe_load((HERE / "upstream.yaml").read_text())
_HEAD = """\
# arena beside upstream's arena

What each command and flag of Kubeflow's arena v0.15.5 (and, for `submit appwrapperjob`, of its AppWrapper fork) is
here. Written by `PYTHONPATH=installer python tests/unit/arena_cli/compatibility.py`; a unit test compares it with the
command. *same*: same name, short form, type, default and meaning. *better*: the same, and more. *refused*: an error
that says why. Nothing is taken and ignored.

{here} commands are here and {not_here} are refused. Of the flags of the former, counted for each command, {same} are
the same, {better} better and {refused} refused. Names of before (`--workerImage`) are taken with a note.
"""
SORTS = {
    "String": ("text", "time"),
    "Bool": ("switch",),
    "Int": ("number",),
    "Int32": ("number",),
    "Int64": ("number",),
    "Duration": ("time",),
    "StringArray": ("list",),
    "StringSlice": ("commas",),
}


@dataclass(frozen=True)
class Theirs:
    """A flag of upstream's."""

    name: str
    short: str
    type: str
    default: str
    notes: str

    @property
    def deprecated(self) -> bool:
        return "deprecated" in self.notes


@dataclass
class Row:
    """A command of upstream's, and what ours makes of its flags."""

    command: str
    aliases: tuple[str, ...]
    absent: tuple[str, str] | None = None  # why there is no such command, and what to do instead
    same: list[str] = field(default_factory=list)
    better: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ours: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what is neither: a test wants none


def theirs(sets: list[str]) -> list[Theirs]:
    found = {}
    for name in sets:
        for line in UPSTREAM["sets"][name].splitlines():
            spelled, type_, default, *notes = [part.strip() for part in line.split("|")]
            if spelled:
                long, _, short = spelled.partition(" ")
                found[long] = Theirs(long.removeprefix("--"), short.removeprefix("-"), type_, default, " ".join(notes))
    return list(found.values())


@cache
def ours(path: str) -> click.Command | None:
    """The command of these words; an Absent one stands for all below it."""
    found: click.Command | None = app
    for word in path.split():
        if not isinstance(found, Group):
            break
        found = found.get_command(click.Context(found), word)
    return found


def rows() -> Iterator[Row]:
    yield compare("", (), theirs(["global"]), list(GLOBAL))
    for name, entry in UPSTREAM["commands"].items():
        aliases = tuple(entry["aliases"])
        found = ours(name)
        if isinstance(found, Absent):
            yield Row(name, aliases, absent=found.reason)
        elif not isinstance(found, Command):
            yield Row(name, aliases, problems=[f"there is no command {name}"])
        else:
            row = compare(name, aliases, theirs(entry["sets"]), list(found.verb.flags))
            row.problems += [
                f"{name}: no alias {alias}" for alias in aliases if ours(" ".join([*name.split()[:-1], alias])) is None
            ]
            yield row


def compare(command: str, aliases: tuple[str, ...], upstream: list[Theirs], flags: list[Flag]) -> Row:
    row = Row(command, aliases)
    spelled = {spelling: flag for flag in flags for spelling in flag.spellings}
    for flag in upstream:
        mine = spelled.get(f"--{flag.name}")
        if mine is None:
            row.problems.append(f"{command}: --{flag.name} is missing")
        elif mine.refused:
            row.refused[flag.name] = mine.refused
        elif flag.name in mine.old:
            continue  # told with its new name
        else:
            row.problems += [f"{command}: --{flag.name}: {text}" for text in _differs(flag, mine)]
            if mine.better:
                row.better[flag.name] = mine.better
            else:
                row.same.append(flag.name)
    known = {flag.name for flag in upstream}
    row.ours = [flag.name for flag in flags if flag.name not in known and not flag.refused]
    row.problems += [f"{command}: --{name} is not marked as ours" for name in row.ours if not spelled[f"--{name}"].ours]
    row.problems += [f"{command}: --{flag.name} is upstream's" for flag in flags if flag.ours and flag.name in known]
    return row


def _differs(flag: Theirs, mine: Flag) -> Iterator[str]:
    if flag.short != mine.short:
        yield f"short form {mine.short!r}, upstream {flag.short!r}"
    if mine.sort not in SORTS[flag.type]:
        yield f"{mine.sort}, upstream {flag.type}"
    if ("required" in flag.notes) > mine.required:
        yield "is not required"
    default = flag.default if flag.type == "Duration" else _default(flag.default)
    if not mine.required and default is not None and str(mine.value) != str(default):
        yield f"default {mine.value!r}, upstream {default!r}"


def _default(text: str) -> Any:
    """None: it is not a constant."""
    if text in ("(per command)", "script"):
        return None
    if text.startswith("[]string{"):
        return tuple(part.strip().strip('"') for part in text[len("[]string{") : -1].split(","))
    if text == "[]":
        return ()
    if text.startswith('"'):
        return text.strip('"')
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


def page() -> str:
    found = list(rows())
    whole = [row for row in found if row.absent is None]
    count = {kind: sum(len(getattr(row, kind)) for row in whole) for kind in ("same", "better", "refused")}
    lines = [
        _HEAD.format(here=len(whole) - 1, not_here=len(found) - len(whole), **count),
        "## Commands that are refused",
        "",
        "| command | why | instead |",
        "|---|---|---|",
    ]
    lines += [f"| `{row.command}` | {row.absent[0]} | {row.absent[1]} |" for row in found if row.absent]
    for row in whole:
        title = f"## arena {row.command}" if row.command else "## Every command"
        also = f" (also {', '.join(f'`{alias}`' for alias in row.aliases)})" if row.aliases else ""
        lines += ["", f"{title}{also}", ""]
        if row.same:
            lines.append(f"same: {_flags(row.same)}")
        if row.ours:
            lines += ["", f"added: {_flags(row.ours)}"]
        if row.better or row.refused:
            lines += ["", "| flag | | |", "|---|---|---|"]
            lines += [f"| `--{name}` | better | {text} |" for name, text in row.better.items()]
            lines += [f"| `--{name}` | refused | {text} |" for name, text in row.refused.items()]
        if not (row.same or row.better or row.refused or row.ours):
            lines.append("same; it has no flags of its own")
    return "\n".join(lines) + "\n"


def _flags(names: list[str]) -> str:
    return " ".join(f"`--{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page())
