"""`arena-install down`."""

from __future__ import annotations

from typing import Annotated

import typer

from arena_install.cli import options


def down(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    host: Annotated[list[str] | None, typer.Option(help="Only this host; the cluster goes on (repeat).")] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="Only this cluster component; the hosts stay (repeat).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List exactly what would go; write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --host: lose pods and volumes that can't be moved, need no API.")
    ] = False,
    drain_timeout: Annotated[
        int, typer.Option(min=0, help="With --host: seconds that its pods have to leave, disruption budgets respected.")
    ] = 300,
    skip_unreachable: Annotated[
        bool, typer.Option("--skip-unreachable", help="Leave hosts that do not answer as they are.")
    ] = False,
    keep_reports: Annotated[bool, typer.Option("--keep-reports", help="Keep the reports on this machine.")] = False,
    yes: options.Yes = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Undo what `up` did: remove exactly what we own and restore what we changed. The hosts themselves stay.

    Without an inventory, --host or --component, the lab of that name is removed, hosts and all. A host without our
    ledger is never touched.
    """
    if host and component:
        raise typer.BadParameter("takes out hosts, --component components: one after the other", param_hint="--host")
    if json and not (yes or dry_run):
        raise typer.BadParameter("nobody can be asked: add --yes or --dry-run", param_hint="--json")
    if host and kubeconfig:
        raise typer.BadParameter("the hosts of an existing cluster are not ours", param_hint="--host")
    if inventory is None and kubeconfig is None and not (host or component):
        from arena_install.cli.lab import remove_lab

        remove_lab(name, dry_run=dry_run, keep_reports=keep_reports, yes=yes, json=json, verbose=verbose)
        return
    from arena_install.cli.down_view import tell_down, tell_removal
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.pipeline.down import down as undo
    from arena_install.pipeline.removal import Request, look
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.up import run_folder

    wishes = Wishes(inventory, config, lab=name, kubeconfig=kubeconfig)
    request = Request(
        tuple(host or ()), tuple(component or ()), force, skip_unreachable, keep_reports, float(drain_timeout)
    )
    setting = prepare(wishes)
    if dry_run or not yes:
        with Screen("json" if json else choose_mode(json), verbose=verbose) as screen:
            removal = look(setting, request, (lambda _: None) if json else screen.emit)
        tell_removal(removal, setting.cluster.name, as_json=json)
        if dry_run:
            return
        if not typer.confirm("Do it?"):
            raise typer.Exit(1)
    run = run_folder(setting.state, "down")
    with Screen(choose_mode(json), run / "events.jsonl", verbose=verbose) as screen:
        result = undo(setting, request, screen.emit, run)
    tell_down(result, setting.cluster.name, as_json=json)
