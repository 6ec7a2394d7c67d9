"""`arena-install user`: add, list, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena_install.cli import options

app = typer.Typer(no_args_is_help=True)

UserName = Annotated[
    str, typer.Argument(metavar="NAME", help="Small letters, digits and -; the namespace is called so too.")
]


@app.command()
def add(
    user: UserName,
    namespace: Annotated[str, typer.Option(help="Another name for the namespace.")] = "",
    gpus: Annotated[
        int | None, typer.Option(help="GPUs that the user's pods may have at once (default: all that the cluster has).")
    ] = None,
    cpu: Annotated[str, typer.Option(help="CPUs that they may ask for at once, such as 16 (default: no limit).")] = "",
    memory: Annotated[str, typer.Option(help="Memory likewise, such as 64Gi (default: no limit).")] = "",
    queue: Annotated[
        str, typer.Option(help="ClusterQueue of Kueue (default: the only one; where there is none, one is made).")
    ] = "",
    days: Annotated[int, typer.Option(help="How long a new certificate is valid.")] = 365,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Make all earlier kubeconfigs of the user worthless; jobs go on.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File for the kubeconfig (default: beside the cluster's).")
    ] = None,
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    json: options.Json = False,
) -> None:
    """Give somebody a namespace, a quota, a queue and a kubeconfig with which `arena` works, and nothing else.

    Run it again at will: what is there is kept, what lacks is made, what was changed by hand is mended.
    """
    from arena_install.cli.user_view import tell_added
    from arena_install.pipeline import user as users
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.users import Wish

    setting = prepare(Wishes(inventory, config, lab=name, kubeconfig=kubeconfig))
    wish = Wish(user, namespace, gpus, cpu, memory, queue, days, revoke)
    tell_added(users.add(setting, wish, output), as_json=json)


@app.command("list")
def list_(
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    json: options.Json = False,
) -> None:
    """Show the users of a cluster: what each may use and uses, and until when. Writes nothing."""
    if output not in ("table", "json"):
        raise typer.BadParameter(f"{output!r} is none of table, json", param_hint="--output")
    from arena_install.cli.user_view import tell_users
    from arena_install.pipeline import user as users
    from arena_install.pipeline.setting import Wishes, prepare

    setting = prepare(Wishes(inventory, config, lab=name, kubeconfig=kubeconfig))
    tell_users(users.rows(setting), setting.cluster.name, as_json=json or output == "json")


@app.command()
def remove(
    user: UserName,
    yes: options.Yes = False,
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    json: options.Json = False,
) -> None:
    """Take a user away with all jobs and volumes. The rights of every kubeconfig handed out end at once."""
    if json and not yes:
        raise typer.BadParameter("nobody can be asked: add --yes", param_hint="--json")
    from arena_install.cli.user_view import tell_loss, tell_removed
    from arena_install.pipeline import user as users
    from arena_install.pipeline.setting import Wishes, prepare

    setting = prepare(Wishes(inventory, config, lab=name, kubeconfig=kubeconfig))
    lost = users.loss(setting, user)
    if not json:
        tell_loss(lost)
    if not yes and not typer.confirm("Do it?"):
        raise typer.Exit(1)
    tell_removed(lost, users.remove(setting, user), as_json=json)
