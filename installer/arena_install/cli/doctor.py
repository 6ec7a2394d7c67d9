"""`arena-install doctor`."""

from __future__ import annotations

import typer

from arena_install.cli import options


def doctor(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    json: options.Json = False,
) -> None:
    """Look at every host and say what is wrong, cause first, with the command that mends it. Writes nothing."""
    from arena_install.cli.summary import tell_findings
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.probe import probe

    setting = prepare(Wishes(inventory, config, lab=name))
    facts = probe(setting.cluster, lambda _: None)
    raise typer.Exit(tell_findings(facts, as_json=json))
