"""What `arena-install user` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from arena_install.users.names import LOCAL_QUEUE
from arena_install.users.objects import QUOTA

if TYPE_CHECKING:
    from arena_install.users import Added, Loss, Removed, Row

console = Console(highlight=False)
_NOTEBOOK = "kubectl -n jupyterhub port-forward pod/jupyterhub-0 8000, then http://localhost:8000, which tells the rest"
_MARKS = {"made": ("+", "green"), "mended": ("~", "yellow"), "there": ("=", "dim"), "removed": ("-", "red")}


def tell_added(added: Added, *, as_json: bool) -> None:
    """What was made, mended or there already; then what to hand over, and what the user does first."""
    if as_json:
        print(json.dumps(added.as_dict()))
        return
    for what, outcome in added.done:
        mark, style = _MARKS[outcome]
        console.print(Text.assemble((f"{mark} ", style), what, (f"  {outcome}", "dim")), soft_wrap=True)
    for note in added.notes:
        console.print(Text.assemble(("! ", "yellow"), note), soft_wrap=True)
    quota = ", ".join(
        f"{added.hard[key]} {'GPUs' if what == 'gpus' else what}" for what, key in QUOTA.items() if key in added.hard
    )
    queue = f" --kueue-queue {LOCAL_QUEUE}" if added.queue else ""
    submit = f"arena submit pytorchjob --name first --image IMAGE --gpus 1{queue} 'python train.py'"
    rows = [
        ("namespace", added.identity.namespace),
        ("quota", quota),
        ("queue", f"{LOCAL_QUEUE}, of ClusterQueue {added.queue}" if added.queue else "none: Kueue is not installed"),
        ("kubeconfig", f"{added.file} (private; valid until {added.until:%Y-%m-%d})"),
        ("hand over", "the file, by a way that nobody else reads; the user sets KUBECONFIG to where it lies"),
        ("first job", submit),
        *([("notebook", _NOTEBOOK)] if added.notebook else []),
    ]
    console.print(Text(f"\n{added.identity.name}:", "bold"))
    for key, text in rows:
        console.print(Text.assemble((f"  {key:<11}", "dim"), text), soft_wrap=True)


def tell_users(rows: Sequence[Row], cluster: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cluster": cluster, "users": [row.as_dict() for row in rows]}))
        return
    if not rows:
        console.print(f"cluster {cluster} has no users; `arena-install user add NAME` makes one")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("user", "namespace", "GPUs", "jobs", "queue", "certificate until", "state"):
        table.add_column(column, overflow="fold")
    for row in rows:
        found = row.as_dict()
        gpus = "no quota" if row.gpus < 0 else f"{row.used}/{row.gpus}"
        until = row.user.until.partition("T")[0] or "none"
        table.add_row(
            row.user.name, row.user.namespace, gpus, str(sum(row.jobs.values())), row.queue, until, str(found["state"])
        )
    console.print(table)


def tell_loss(lost: Loss) -> None:
    jobs = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in lost.jobs.items())
    where = f", namespace {lost.user.namespace}" if lost.user.namespace else ""
    console.print(Text.assemble("user ", (lost.user.name, "bold"), where))
    rows = [("jobs lost", jobs or "none"), ("volumes lost", ", ".join(lost.claims) or "none")]
    rows += [("kept", f"PersistentVolumes {', '.join(lost.kept)}: they say Retain")] if lost.kept else []
    for key, text in rows:
        console.print(Text.assemble((f"  {key:<13}", "dim"), text), soft_wrap=True)


def tell_removed(lost: Loss, removed: Removed, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"lost": lost.as_dict(), **removed.as_dict()}))
        return
    for what in removed.gone:
        console.print(Text.assemble(("- ", "red"), what), soft_wrap=True)
    for what in removed.left:
        console.print(Text.assemble(("! ", "yellow"), what), soft_wrap=True)
    console.print(f"user {lost.user.name} is gone; kubeconfigs that were handed out have no rights any more")
