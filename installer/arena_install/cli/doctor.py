"""`arena-install doctor`."""

from __future__ import annotations

from typing import Annotated

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


@app.command()
def pod(
    context: typer.Context,
    pod: Annotated[str, typer.Argument(metavar="NAME", help="The pod, or the Deployment or job that makes it.")],
    namespace: Annotated[str, typer.Option("-N", "--namespace", help="Where it is.")] = "default",
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: Annotated[str | None, typer.Option(help="Name of the lab when there is no inventory.")] = None,
    json: options.Json = False,
) -> None:
    """Say why a pod is pending or fails: the cause first, what mends it last. Writes nothing."""
    from arena_install.cli.doctor_view import tell_pod
    from arena_install.pipeline.doctor_pod import examine_pod
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.shell import Shell

    given: Wishes = context.obj
    wishes = Wishes(inventory or given.inventory, config or given.config, lab=name or given.lab)
    setting = prepare(wishes)
    found = examine_pod(setting, pod, namespace)
    tell_pod(found, Shell(setting, wishes), as_json=json)
    raise typer.Exit(found.exit_code)
