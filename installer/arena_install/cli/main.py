"""The `arena-install` command: one file per verb, mounted here.

Verb files import their machinery inside the function they run, so `--help` stays as quick as typer itself.
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from arena_install import __version__
from arena_install.cli import components, doctor, down, lab, plan, schema, status, up, user, verify
from arena_install.errors import ArenaError

app = typer.Typer(
    name="arena-install",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From bare hosts, or one machine, to a [bold]verified GPU training cluster[/bold].",
    epilog="Exit codes: 0 done, 1 a check or step failed, 2 usage or configuration, 3 unreachable, "
    "4 plan found changes, 5 timed out, 130 interrupted.",
)
for verb in (up, plan, verify, status, down, components, schema):
    app.command()(getattr(verb, verb.__name__.rpartition(".")[2]))
app.add_typer(doctor.app, name="doctor")
app.add_typer(lab.app, name="lab", help="Container hosts with simulated GPUs on this machine.")
app.add_typer(user.app, name="user", help="Who may use a cluster: each with a namespace, a quota and a kubeconfig.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"arena-install {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """From bare hosts, or one machine, to a verified GPU training cluster."""


def run() -> NoReturn:
    """Entry point. No traceback reaches a user: what is not an ArenaError is our fault, kept in a file and named."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        app()
    except ArenaError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": error.as_dict()}))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from arena_install.crash import keep

        print(f"error: a fault of arena-install itself ({type(error).__name__}: {error})", file=sys.stderr)
        print(f"  fix: please report it with the file {keep(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
