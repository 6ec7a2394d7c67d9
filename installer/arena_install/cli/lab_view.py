"""What `arena-install lab` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.lab import LabInfo

console = Console(highlight=False)
_STYLES = {"running": "green", "missing": "red"}


def tell_lab(lab: LabInfo, *, as_json: bool) -> None:
    """One lab, and what to do with it."""
    if as_json:
        print(json.dumps(lab.as_dict()))
        return
    console.print(_table((lab,)))
    console.print(f"\n  inventory  {lab.inventory}", soft_wrap=True)
    console.print(f"  log in     arena-install lab shell {lab.name} {lab.hosts[-1].name}", style="dim", soft_wrap=True)
    console.print(f"  install    arena-install up --name {lab.name}", style="dim", soft_wrap=True)
    console.print(f"  remove     arena-install lab down {lab.name}", style="dim", soft_wrap=True)


def tell_labs(labs: Sequence[LabInfo], *, as_json: bool) -> None:
    """All labs of this machine."""
    if as_json:
        print(json.dumps({"labs": [lab.as_dict() for lab in labs]}))
    elif labs:
        console.print(_table(labs))
    else:
        console.print("no labs on this machine; `arena-install lab up` makes one")


def _table(labs: Sequence[LabInfo]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("lab", "host", "role", "address", "status"):
        table.add_column(column)
    for lab in labs:
        if not lab.hosts:
            table.add_row(lab.name, "", "", lab.subnet, Text("half made", "yellow"))
        for number, host in enumerate(lab.hosts):
            status = Text(host.status, _STYLES.get(host.status, "yellow"))
            role = "control plane" if host.role == "control_plane" else host.role
            table.add_row("" if number else lab.name, host.name, role, host.address, status)
    return table
