"""`arena-install down`."""

from __future__ import annotations

import typer

from arena_install.cli import options


def down(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    yes: options.Yes = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Undo what `up` did: remove exactly what we own from the hosts and restore what we changed. Hosts stay.

    Without an inventory the lab of that name is removed, hosts and all. A host without our ledger is never touched.
    """
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.inventory import load
    from arena_install.lab import down as remove_lab
    from arena_install.paths import state_dir
    from arena_install.pipeline.down import down as undo
    from arena_install.pipeline.down import forget
    from arena_install.pipeline.setting import Wishes
    from arena_install.pipeline.up import run_folder

    cluster = load(inventory, config).name if inventory else name
    what = f"what was installed on the hosts of {inventory}" if inventory else f"the lab {name} with its hosts"
    if not yes and not typer.confirm(f"Remove {what}?"):
        raise typer.Exit(1)
    if inventory is None:
        with Screen(choose_mode(json), verbose=verbose) as screen:
            remove_lab(name, screen.emit)
    else:
        run = run_folder(state_dir(cluster), "down")
        with Screen(choose_mode(json), run / "events.jsonl", verbose=verbose) as screen:
            undo(Wishes(inventory, config, lab=name), screen.emit, run)
    forget(cluster)
