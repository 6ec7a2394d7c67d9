"""What verbs print at their end: tables for people, JSON for programs."""

from __future__ import annotations

import json as json_lines
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from arena_install.artifacts.lock import Lock
    from arena_install.pipeline.status import Status
    from arena_install.pipeline.up import Result
    from arena_install.plan import Plan, Role
    from arena_install.verify import Report

Settings = Sequence[tuple[str, Any, str]]  # key path, value, where it came from

console = Console(highlight=False)


def _json(value: Any) -> None:
    print(json_lines.dumps(value, default=str))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in columns:
        table.add_column(column)
    return table


def tell_up(result: Result, *, as_json: bool) -> None:
    """Where the report and the kubeconfig are, and what changed."""
    report, kubeconfig = result.report, result.setting.kubeconfig
    if as_json:
        _json(
            {
                "result": "failed" if report and report.exit_code else "done",
                "changed": result.changed,
                "components": result.components,
                "plan": result.plan.as_dict(),
                "kubeconfig": str(kubeconfig),
                "report": str(result.report_folder) if result.report_folder else None,
                "run": str(result.run),
            }
        )
        return
    if report and result.report_folder:
        tell_report(report, result.report_folder)
    tasks = sum(result.changed.values())
    console.print()
    console.print(
        Text.assemble(
            (f"{result.setting.cluster.name}: ", "bold"),
            "nothing to change"
            if result.plan.empty and not result.components
            else f"changed: {tasks} tasks on {len(result.changed)} hosts, {len(result.components)} components",
        )
    )
    for name, why in result.plan.left_out.items():
        console.print(f"  left out    {name}: {why}", soft_wrap=True)
    console.print(f"  kubeconfig  {kubeconfig}", soft_wrap=True)
    if result.report_folder:
        console.print(f"  report      {result.report_folder / 'report.html'}", soft_wrap=True)
    console.print(f"  try         KUBECONFIG={kubeconfig} kubectl get nodes", soft_wrap=True, style="dim")


def tell_plan(plan: Plan, settings: Settings | None, *, as_json: bool) -> None:
    """settings: what inventory.explain gives, told before the plan; None when nobody asked."""
    if as_json:
        rows = [{"key": key, "value": value, "from": source} for key, value, source in settings or ()]
        _json(plan.as_dict() | ({} if settings is None else {"settings": rows}))
        return
    if settings is not None:
        table = _table("setting", "value", "from")
        for key, value, source in settings:
            table.add_row(key, str(value), str(source))
        console.print(table)
        console.print()
    for name, why in plan.left_out.items():
        console.print(f"{name} is left out: {why}", soft_wrap=True)
    if plan.empty:
        console.print("No changes: every host and component is as recorded and as wanted.")
        return
    if plan.roles:
        table = _table("role", "host", "why")
        for action in plan.roles:
            for index, reason in enumerate(action.reasons):
                table.add_row(action.role if index == 0 else "", action.host if index == 0 else "", str(reason))
        console.print(table)
    if plan.components:
        table = _table("component", "", "why")
        for component in plan.components:
            for index, reason in enumerate(component.reasons):
                table.add_row(component.component if index == 0 else "", "", str(reason))
        console.print(table)
    hosts = len(plan.touched_hosts())
    console.print(
        f"\n{len(plan.roles)} roles on {hosts} hosts and {len(plan.components)} components would change. "
        "Nothing was written; `arena-install up` does it."
    )


def tell_report(report: Report, folder: Path) -> None:
    from arena_install.verify.formats.terminal import render as render_terminal

    render_terminal(report, console, folder)


def tell_status(status: Status, *, as_json: bool, page: Path | None = None) -> None:
    if as_json:
        _json(
            {
                "cluster": status.cluster,
                "nodes": status.nodes,
                "components": status.components,
                "verified": status.verified,
                "plan": status.plan.as_dict(),
                "page": str(page) if page else None,
            }
        )
        return
    console.print(Text(f"cluster {status.cluster}", "bold"))
    table = _table("node", "ready", "roles", "version", "GPUs", "address")
    for node in status.nodes:
        table.add_row(*(str(node.get(key, "")) for key in ("name", "ready", "roles", "version", "gpus", "address")))
    console.print(table)
    if status.components:
        console.print(f"components: {', '.join(sorted(status.components))}", soft_wrap=True)
    console.print(f"last full verification that passed: {status.verified or 'none'}", soft_wrap=True)
    console.print(
        "as wanted"
        if status.plan.empty
        else f"{len(status.plan.roles)} roles, {len(status.plan.components)} components differ: `arena-install plan`"
    )
    if page:
        console.print(f"page: {page}", soft_wrap=True)


def tell_components(roles: Sequence[Role], components: Mapping[str, Any], lock: Lock, *, as_json: bool) -> None:
    if as_json:
        _json(
            {
                "roles": [
                    {"name": role.name, "title": role.title, "hosts": role.hosts, "needs": role.needs} for role in roles
                ],
                "components": [
                    {
                        "name": row.name,
                        "title": row.title,
                        "needs": row.needs,
                        "profiles": row.profiles,
                        "version": lock.version(lock.find(row.chart)),
                    }
                    for row in components.values()
                ],
            }
        )
        return
    table = _table("host component", "what it is", "on", "needs")
    for role in roles:
        table.add_row(role.name, role.title, ", ".join(role.hosts), ", ".join(role.needs))
    console.print(table)
    console.print()
    table = _table("cluster component", "what it is", "version", "profiles", "needs")
    for row in components.values():
        table.add_row(
            row.name, row.title, lock.version(lock.find(row.chart)), ", ".join(row.profiles), ", ".join(row.needs)
        )
    console.print(table)
