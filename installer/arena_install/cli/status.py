"""`arena-install status`."""

from __future__ import annotations

from arena_install.cli import options


def status(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    json: options.Json = False,
) -> None:
    """Show hosts, nodes, GPUs, components and the last verification. Writes nothing."""
    from arena_install.cli.summary import tell_status
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.status import gather

    setting = prepare(Wishes(inventory, config, lab=name))
    tell_status(gather(setting), as_json=json)
