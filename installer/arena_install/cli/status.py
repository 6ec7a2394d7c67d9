"""`arena-install status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena_install.cli import options


def status(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    name: options.Name = "lab",
    kubeconfig: options.Kubeconfig = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page for people into this file: GPUs, jobs, alerts.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show hosts, nodes, GPUs, components and the last verification. Writes nothing but the page."""
    from arena_install.cli.summary import tell_status
    from arena_install.errors import ConfigError
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.status import gather

    setting = prepare(Wishes(inventory, config, lab=name, kubeconfig=kubeconfig))
    if html and not html.absolute().parent.is_dir():
        folder = html.absolute().parent
        raise ConfigError("the page has no folder to go into", where=str(html), fix=f"mkdir -p {folder}")
    found = gather(setting, figures=html is not None)
    if html and found.watched:
        from arena_install.cli.status_page import page

        text = page(found, found.watched, simulated=setting.cluster.rehearsal)
        try:
            html.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError("the page can't be written", where=str(html), why=str(error.strerror)) from error
    tell_status(found, as_json=json, page=html)
