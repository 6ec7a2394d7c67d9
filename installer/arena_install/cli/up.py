"""`arena-install up`."""

from __future__ import annotations

from typing import Annotated

import typer

from arena_install.cli import options


def up(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    profile: options.Profile = None,
    only: options.Only = None,
    skip: options.Skip = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    verify: Annotated[
        str, typer.Option(help="auto: all suites when something changed, else quick. Or all, quick, none.")
    ] = "auto",
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Make the cluster: hosts (a lab when no inventory is given), Kubernetes, GPU support, operators, and the proof.

    Run it again at will: what is done is kept, what was interrupted is finished, what drifted is mended.
    """
    if verify not in ("auto", "all", "quick", "none"):
        raise typer.BadParameter(f"{verify!r} is none of auto, all, quick, none", param_hint="--verify")
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.cli.summary import tell_up
    from arena_install.inventory import load
    from arena_install.paths import state_dir
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.up import run_folder
    from arena_install.pipeline.up import up as make

    wishes = Wishes(inventory, config, profile, tuple(only or ()), tuple(skip or ()), name, kubeconfig)
    state = prepare(wishes).state if kubeconfig else state_dir(load(inventory, config).name if inventory else name)
    run = run_folder(state, "up")
    with Screen(choose_mode(json), run / "events.jsonl", verbose=verbose) as screen:
        result = make(wishes, screen.emit, run, verify)  # type: ignore[arg-type]
    tell_up(result, as_json=json)
    raise typer.Exit(result.report.exit_code if result.report else 0)
