"""What `arena-install down` prints: what would go, and what went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.pipeline.down import Result
    from arena_install.plan import Removal

console = Console(highlight=False)


def tell_removal(removal: Removal, cluster: str, *, as_json: bool) -> None:
    """Everything that would go, hosts of which the same would go together."""
    if as_json:
        print(json.dumps(removal.as_dict()))
        return
    for component in removal.components:
        _list(f"component {component.component}", component.things or ("is not installed",))
        _list("", [f"{leaf.replace('|', ' ')} on hosts" for leaf in component.leaves])
    for names, rows in _alike(removal).items():
        _list(f"host {names}", rows)
    if removal.whole:
        _list("this machine", removal.controller)
        console.print(f"The whole of cluster {cluster} would go, with all data in it.", style="bold")
    for row in removal.hosts:
        if not row.reached:
            console.print(f"{row.host} does not answer and would stay as it is", style="yellow")


def _alike(removal: Removal) -> Mapping[str, list[str]]:
    """Names of hosts -> what would go there."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in removal.hosts:
        if row.things:
            found.setdefault(tuple(map(str, row.things)), []).append(row.host)
    return {", ".join(hosts): list(rows) for rows, hosts in found.items()}


def _list(title: str, rows: tuple[str, ...] | list[str]) -> None:
    if title:
        console.print(Text(title, "bold"))
    for row in rows:
        console.print(f"  {row}", soft_wrap=True)


def tell_down(result: Result, cluster: str, *, as_json: bool) -> None:
    removal = result.removal
    passed = [row.host for row in removal.hosts if not row.reached]
    if as_json:
        kept = [str(path) for path in result.kept]
        print(
            json.dumps(
                {
                    "result": "done",
                    "whole": removal.whole,
                    "changed": result.changed,
                    "components": result.components,
                    "skipped": passed,
                    "kept": kept,
                }
            )
        )
        return
    for name, text in result.components.items() if not removal.whole else ():
        console.print(f"{name}: {text}", soft_wrap=True)
    if removal.whole:
        console.print(Text.assemble((f"{cluster}: ", "bold"), f"gone from {len(result.changed)} hosts and from here"))
    elif not result.components:
        names = ", ".join(row.host for row in removal.hosts if row.reached)
        console.print(f"{names or 'nothing'}: out of {cluster}; take it out of the inventory, or `up` brings it back")
    for name in passed:
        console.print(f"{name} did not answer: what is on it stays; `arena-install down` again once it does")
    for path in result.kept:
        console.print(f"  kept  {path}", soft_wrap=True)
