"""`arena-install schema`: the tool describes itself, for editors, wrappers and agents."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def schema(
    what: Annotated[
        str,
        typer.Argument(
            help="config: schema of cluster.yaml. commands: verbs, options, exit codes. checks: what verify can prove."
        ),
    ] = "commands",
    markdown: Annotated[bool, typer.Option("--markdown", help="checks as a page for people.")] = False,
) -> None:
    """Print the JSON schema of cluster.yaml, the commands with their options and exit codes, or every check."""
    if what == "config":
        from arena_install.inventory import config_schema

        typer.echo(json.dumps(config_schema(), indent=2))
    elif what == "commands":
        typer.echo(json.dumps(_commands(), indent=2))
    elif what == "checks":
        from arena_install.verify import catalogue

        typer.echo(catalogue.markdown() if markdown else json.dumps(catalogue.rows(), indent=2), nl=not markdown)
    else:
        raise typer.BadParameter(f"{what!r} is none of config, commands, checks", param_hint="what")


def _commands() -> dict[str, Any]:
    from typer.main import get_command

    from arena_install.cli.main import app

    exit_codes = {
        "0": "done, or all checks passed",
        "1": "a check or a step failed",
        "2": "usage or configuration",
        "3": "a host or the API is unreachable",
        "4": "plan --detailed-exitcode found changes",
        "5": "timed out",
        "130": "interrupted",
    }
    return {"name": "arena-install", "exit_codes": exit_codes, "commands": _describe(get_command(app))}


def _describe(group: Any) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for name, command in sorted(group.commands.items()):
        described[name] = {
            "help": (command.help or "").strip().splitlines()[0],
            "parameters": [
                {
                    "names": list(p.opts),
                    "help": getattr(p, "help", None) or "",
                    "required": p.required,
                    "repeat": bool(getattr(p, "multiple", False)),
                }
                for p in command.params
                if p.name != "help"
            ],
        }
        if hasattr(command, "commands"):
            described[name]["commands"] = _describe(command)
    return described
