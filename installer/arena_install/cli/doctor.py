"""`arena-install doctor`."""

from __future__ import annotations

import typer

from arena_install.cli import options

app = typer.Typer(invoke_without_command=True)


@app.callback()
def doctor(
    context: typer.Context,
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    json: options.Json = False,
) -> None:
    """Say what is broken on the hosts and in the cluster: the cause first, what mends it last. Writes nothing."""
    from arena_install.cli.doctor_view import tell_diagnosis
    from arena_install.pipeline.doctor import examine
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.shell import Shell

    wishes = Wishes(inventory, config, lab=name)
    if context.invoked_subcommand is not None:
        context.obj = wishes
        return
    setting = prepare(wishes)
    facts, diagnosis = examine(setting)
    tell_diagnosis(diagnosis, facts, Shell(setting, wishes), as_json=json)
    raise typer.Exit(diagnosis.exit_code)
