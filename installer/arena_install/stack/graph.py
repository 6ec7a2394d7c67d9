"""Which components are wanted, and in which order: needs come first, what is independent stands side by side."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path

from arena_install.errors import ConfigError
from arena_install.stack.component import Component, load

Catalogue = Mapping[str, Component]

_BUILT_IN = Path(__file__).resolve().parent.parent / "components"


@cache
def catalogue(folder: Path = _BUILT_IN) -> Catalogue:
    """All components, by name. Raises ConfigError (file:line) for a bad row, an unknown need or a cycle."""
    rows = {path.parent.name: load(path.parent) for path in sorted(folder.glob("*/component.yaml"))}
    for component in rows.values():
        for need in component.needs:
            if need not in rows:
                raise ConfigError(
                    f"{component.name} needs {need!r}, which is no component",
                    where=component.where("needs", need),
                    fix=_suggestion(need, rows),
                )
    order(rows, rows)
    return rows


def order(names: Iterable[str], rows: Catalogue) -> tuple[str, ...]:
    """The names and all that they need, needs first, otherwise alphabetical. Raises ConfigError on a cycle."""
    done: dict[str, None] = {}
    open_: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in open_:
            cycle = [*open_[open_.index(name) :], name]
            raise ConfigError(
                "components need each other in a circle",
                where=rows[cycle[-2]].where("needs", name),
                why=" -> ".join(cycle),
                fix="take one of these needs out",
            )
        open_.append(name)
        for need in sorted(rows[name].needs):
            visit(need)
        open_.pop()
        done[name] = None

    for name in sorted(names):
        visit(name)
    return tuple(done)


def needed(
    profile: str, *, only: Collection[str] = (), skip: Collection[str] = (), rows: Catalogue | None = None
) -> tuple[str, ...]:
    """Components of a profile, or `only` some with what they need, without `skip`; needs first.

    Raises ConfigError for unknown names, and where something that stays needs something that is skipped.
    """
    rows = catalogue() if rows is None else rows
    for option, names in (("--only", only), ("--skip", skip)):
        for name in names:
            if name not in rows:
                raise ConfigError(f"there is no component {name!r}", where=option, fix=_suggestion(name, rows))
    chosen = set(only) if only else {name for name, row in rows.items() if profile in row.profiles}
    chosen -= set(skip)
    ordered = order(chosen, rows)
    for name in ordered:
        for need in rows[name].needs:
            if need in skip:
                raise ConfigError(
                    f"{name} needs {need}, which is skipped",
                    where=f"--skip {need}",
                    why=f"see {rows[name].where('needs', need)}",
                    fix=f"skip {name} too: --skip {need} --skip {name}",
                )
    return ordered


def dependents(name: str, names: Collection[str], rows: Catalogue) -> tuple[str, ...]:
    """Those of names that need `name`, directly or through others."""
    return tuple(other for other in names if other != name and name in order([other], rows))


def _suggestion(name: str, rows: Catalogue) -> str:
    close = difflib.get_close_matches(name, rows, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"components are: {', '.join(rows)}"
