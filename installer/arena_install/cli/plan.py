"""`arena-install plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from arena_install.cli import options


def plan(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    profile: options.Profile = None,
    only: options.Only = None,
    skip: options.Skip = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show every setting and where it came from.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 4 when there are changes.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what `up` would change, host by host, and why. Writes nothing."""
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.cli.summary import tell_plan
    from arena_install.inventory import explain as explained
    from arena_install.pipeline.look import look
    from arena_install.pipeline.setting import Wishes, prepare

    setting = prepare(Wishes(inventory, config, profile, tuple(only or ()), tuple(skip or ()), name, kubeconfig))
    above = "command line" if profile else "the last up"
    settings = explained(setting.cluster.config, config, above) if explain else None
    with Screen("json" if json else choose_mode(json), verbose=verbose) as screen:
        _, found = look(setting, (lambda _: None) if json else screen.emit)
    tell_plan(found, settings, as_json=json)
    raise typer.Exit(4 if detailed_exitcode and not found.empty else 0)
