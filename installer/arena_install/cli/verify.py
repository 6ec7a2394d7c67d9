"""`arena-install verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena_install.cli import options


def verify(
    inventory: options.Inventory = None,
    config: options.ConfigFile = None,
    profile: options.Profile = None,
    name: options.Name = "lab",
    suite: Annotated[list[str] | None, typer.Option(help="Only these suites, with all their checks (repeat).")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All checks, also those that take long or disturb for a moment.")
    ] = False,
    check: Annotated[list[str] | None, typer.Option(help="Only these checks and what they need (repeat).")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the report.")] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only checks that create nothing in the cluster; no pods, no jobs.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Prove the cluster by running real jobs on it, and write the report with its evidence."""
    import json as json_lines

    from arena_install.artifacts import Resolved
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.cli.summary import tell_report
    from arena_install.errors import ConfigError
    from arena_install.pipeline.setting import Wishes, prepare
    from arena_install.pipeline.up import run_folder
    from arena_install.verify import run, suites_for

    setting = prepare(Wishes(inventory, config, profile, lab=name))
    if not setting.kubeconfig.exists() or not setting.resolved_file.exists():
        raise ConfigError(
            f"cluster {setting.cluster.name} was not set up from here", fix="run `arena-install up` first"
        )
    known = suites_for(setting.components, setting.cluster.config.profile)
    if sum(map(bool, (suite, check, everything))) > 1:
        raise typer.BadParameter("name suites or checks, or ask for all", param_hint="--check")
    for wanted in suite or ():
        if wanted not in known:
            raise typer.BadParameter(f"{wanted!r} is none of {', '.join(known)}", param_hint="--suite")
    folder = run_folder(setting.state, "verify")
    with Screen("plain" if json else choose_mode(json), folder / "events.jsonl", verbose=verbose) as screen:
        report = run(
            setting.cluster,
            setting.kubeconfig,
            Resolved.load(setting.resolved_file),
            () if check else tuple(suite or known),
            output or folder / "report",
            (lambda _: None) if json else screen.emit,
            only=tuple(check or ()),
            read_only=read_only,
            folder=folder,
            thorough=bool(suite) or everything,
        )
    if json:
        typer.echo(json_lines.dumps(report.ctrf(), indent=2))
    else:
        tell_report(report, output or folder / "report")
    raise typer.Exit(report.exit_code)
