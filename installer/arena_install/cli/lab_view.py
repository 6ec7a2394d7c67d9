"""What `arena-install lab` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.lab import LabInfo
    from arena_install.lab.faults import Active, Fault

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


def tell_faults(known: Mapping[str, Fault], lab: str, active: Sequence[Active], *, as_json: bool) -> None:
    """Every fault there is, what it breaks, and which are in this lab now."""
    inside = {one.name: one for one in active}
    if as_json:
        rows = [
            {
                "name": fault.name, "title": fault.title, "on": fault.on, "fails": fault.fails, "also": fault.also,
                "may": fault.may,
                "active": list(inside[fault.name].hosts) if fault.name in inside else [],
            }
            for fault in known.values()
        ]  # fmt: skip
        print(json.dumps({"lab": lab, "faults": rows}))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("fault", "what happens", "checks that fail"):
        table.add_column(column)
    for fault in known.values():
        style = "bold red" if fault.name in inside else ""
        table.add_row(Text(fault.name, style), fault.title, Text("\n".join(fault.fails), "dim"))
    console.print(table)
    console.print()
    for one in active:
        minutes = (time.time() - one.since) / 60
        console.print(f"  in lab {lab} for {minutes:.0f} min: {one.name} on {', '.join(one.hosts)}", style="red")
    if active:
        console.print(f"  mend       arena-install lab fault --mend-all --name {lab}", style="dim", soft_wrap=True)
    else:
        console.print(f"  no fault is in lab {lab}; arena-install lab fault NAME puts one in", style="dim")


def tell_fault(fault: Fault, lab: str) -> None:
    """What to try now that it is in."""
    console.print(f"  see it     arena-install verify --name {lab}   (fails: {', '.join(fault.fails)})", soft_wrap=True)
    console.print(f"  mend it    arena-install lab fault {fault.name} --name {lab} --mend", style="dim", soft_wrap=True)


def tell_lab_removal(name: str, things: Sequence[str], *, as_json: bool) -> None:
    """What `down` of a lab would remove from this machine."""
    if as_json:
        print(json.dumps({"lab": name, "removes": list(things)}))
        return
    console.print(Text(f"lab {name}", "bold"))
    for thing in things or ("there is no such lab",):
        console.print(f"  remove {thing}" if things else f"  {thing}", soft_wrap=True)
