"""`arena-install lab`: up, list, shell, fault, down."""

from __future__ import annotations

from typing import Annotated

import typer

from arena_install.cli import options

app = typer.Typer(no_args_is_help=True)

LabName = Annotated[str, typer.Argument(help="Name of the lab; its hosts are NAME-cp1, NAME-w1, ...")]


@app.command()
def up(
    name: LabName = "lab",
    config: options.ConfigFile = None,
    control_planes: Annotated[int | None, typer.Option(help="How many, odd (default: cluster.yaml's, else 1).")] = None,
    workers: Annotated[int | None, typer.Option(help="How many (default: cluster.yaml's, else 2).")] = None,
    user: Annotated[str | None, typer.Option(help="Log in as this user, who has sudo (default: root).")] = None,
    sudo_password: Annotated[bool, typer.Option("--sudo-password", help="sudo asks for a password.")] = False,
    port: Annotated[int | None, typer.Option(help="Where sshd listens (default: 22).")] = None,
    jump: Annotated[bool, typer.Option("--jump", help="Only the first control plane takes SSH from here.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Make hosts only, without installing anything on them, and say where their inventory is.

    On an existing lab: start what is stopped, add what is missing. Needs root and podman.
    """
    from arena_install.cli.lab_view import tell_lab
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.inventory import load
    from arena_install.lab import Access, shape
    from arena_install.lab import up as make

    topology = shape(load(None, config).config.lab, control_planes, workers)
    access = None
    if user is not None or port is not None or sudo_password or jump:
        access = Access(user or "root", sudo_password, 22 if port is None else port, jump)
    with Screen(choose_mode(json), verbose=verbose) as screen:
        made = make(name, topology, screen.emit, access=access)
    tell_lab(made, as_json=json)


@app.command("list")
def list_(json: options.Json = False) -> None:
    """Show the labs on this machine, their hosts and whether they run."""
    from arena_install.cli.lab_view import tell_labs
    from arena_install.lab import list_labs

    tell_labs(list_labs(), as_json=json)


@app.command(context_settings={"ignore_unknown_options": True})
def shell(
    name: LabName,
    host: Annotated[str, typer.Argument(help="Its name, or the part behind the lab's: w1.")] = "cp1",
    command: Annotated[list[str] | None, typer.Argument(help="Run this instead of a login shell.")] = None,
) -> None:
    """Log in to a host of a lab, by SSH with the lab's own key."""
    import os

    from arena_install.lab import shell_command

    argv = shell_command(name, host, command or ())
    os.execvp(argv[0], argv)


@app.command()
def fault(
    fault: Annotated[str | None, typer.Argument(help="What to break or mend; without it: list what there is.")] = None,
    name: Annotated[str, typer.Option("-n", "--name", help="Name of the lab.")] = "lab",
    mend: Annotated[bool, typer.Option("--mend", help="Take this fault out again.")] = False,
    mend_all: Annotated[bool, typer.Option("--mend-all", help="Take out every fault that is in the lab.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Break one thing in a running lab on purpose, to see which checks notice; or mend it."""
    from arena_install.cli.lab_view import tell_fault, tell_faults
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.lab import faults

    if mend_all and (fault or mend):
        raise typer.BadParameter("mends all there are; name no fault with it", param_hint="--mend-all")
    if mend and not fault:
        raise typer.BadParameter("needs the name of the fault", param_hint="--mend")
    if not fault and not mend_all:
        tell_faults(faults.load(), name, faults.active(name), as_json=json)
        return
    with Screen(choose_mode(json), verbose=verbose) as screen:
        if mend_all:
            mended = faults.mend_all(name, screen.emit)
            screen.say(f"mended: {', '.join(mended)}" if mended else f"no fault is in lab {name}")
        elif mend:
            faults.mend(name, fault or "", screen.emit)
        else:
            faults.inject(name, fault or "", screen.emit)
    if fault and not mend and not json:
        tell_fault(faults.find(fault), name)


@app.command()
def down(
    name: LabName = "lab",
    yes: options.Yes = False,
    image: Annotated[bool, typer.Option("--image", help="Remove the host image too, if no lab uses it.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Remove a lab without a trace: hosts, volumes, network, keys, and what is remembered of its cluster."""
    remove_lab(name, yes=yes, image=image, json=json, verbose=verbose)


def remove_lab(
    name: str,
    *,
    yes: bool,
    json: bool,
    verbose: bool,
    image: bool = False,
    dry_run: bool = False,
    keep_reports: bool = False,
) -> None:
    """Also `arena-install down` of a lab."""
    from arena_install.cli.lab_view import tell_lab_removal
    from arena_install.cli.screen import Screen, choose_mode
    from arena_install.lab import belongings, remove_image
    from arena_install.lab import down as remove
    from arena_install.pipeline.forget import forget, kept

    if dry_run:
        tell_lab_removal(name, [*belongings(name), *map(str, kept(name))], as_json=json)
        return
    if not yes and not typer.confirm(f"Remove the lab {name} with its hosts?"):
        raise typer.Exit(1)
    with Screen(choose_mode(json), verbose=verbose) as screen:
        found = remove(name, screen.emit)
        for path in forget(name, reports=keep_reports) if found else ():
            screen.say(f"kept {path}")
        if image:
            remove_image()
        if not found:
            screen.say(f"there is no lab named {name}: nothing to remove")
