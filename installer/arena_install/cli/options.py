"""Options that several verbs share: one spelling and one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i", "--inventory", help="Ansible inventory of the hosts (hosts.ini). Without it: a lab on this machine."
    ),
]
ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", help="cluster.yaml, typed and optional.")]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="A cluster that is there already: only what goes inside it is ours. No hosts."),
]
Profile = Annotated[
    str | None, typer.Option(help="What to install: minimal or full (default: cluster.yaml's, else minimal).")
]
Only = Annotated[list[str] | None, typer.Option(help="Only these cluster components (repeat).")]
Skip = Annotated[list[str] | None, typer.Option(help="All but these cluster components (repeat).")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Every task and every changed item.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Name = Annotated[str, typer.Option("-n", "--name", help="Name of the lab when there is no inventory.")]
