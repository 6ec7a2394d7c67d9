"""The `arena` command: a file per verb under verbs/, imported when that verb is asked for."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from arena_cli.command import Group, unknown_option
from arena_install.errors import ArenaError

_V = "arena_cli.verbs"
app = Group(
    "arena",
    "Submit training and serving jobs to a Kubernetes cluster, and look at them.",
    {
        "submit": (f"{_V}.submit:group", "Submit a training job."),
        "list": (f"{_V}.list:verb", "List training jobs."),
        "get": (f"{_V}.get:verb", "Show one job: its pods, why it waits or failed, its TensorBoard."),
        "logs": (f"{_V}.logs:verb", "Print a job's log."),
        "attach": (f"{_V}.attach:verb", "Run a shell, or a command, in a job's pod."),
        "delete": (f"{_V}.delete:verb", "Delete jobs."),
        "prune": (f"{_V}.prune:verb", "Delete jobs that ended some time ago."),
        "top": (f"{_V}.top:group", "Show who uses the GPUs."),
        "scaleout": (f"{_V}.scale:out", "Give an elastic job more workers."),
        "scalein": (f"{_V}.scale:into", "Give an elastic job fewer workers."),
        "cron": (f"{_V}.cron:group", "Jobs by the clock."),
        "data": (f"{_V}.data:group", "Volume claims that jobs can use."),
        "logviewer": (f"{_V}.logviewer:verb", "Print where a job's logs can be read in a browser."),
        "dashboard": (f"{_V}.dashboard:verb", "Print where the cluster's web pages are, and a token to log in there."),
        "serve": (f"{_V}.serve:group", "Serve models."),
        "whoami": (f"{_V}.whoami:verb", "Print who the cluster takes you for."),
        "version": (f"{_V}.version:verb", "Print the version."),
        "completion": (f"{_V}.completion:verb", "Print what a shell needs to complete arena's commands."),
        "model": (f"{_V}.absent:model", "(not here) a model registry."),
        "evaluate": (f"{_V}.absent:evaluate", "(not here) evaluation jobs."),
        "llm": (f"{_V}.absent:llm", "(not here) upstream's program for language models."),
    },
    {"ls": "list", "log": "logs", "del": "delete"},
)


def run() -> NoReturn:
    """Entry point. No traceback reaches a user: what is not an ArenaError is our fault, kept in a file and named."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Looking for cycles takes as long as parsing a thousand jobs does, and a command ends before they matter.
    gc.disable()
    try:
        app(prog_name="arena", standalone_mode=False)
    except ArenaError as error:
        _tell(error)
    except click.NoSuchOption as error:
        _tell(unknown_option(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help() if error.ctx else "", end="\n")
        sys.exit(0)
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "arena"
        print(f"error: {error.format_message()}\n  fix: {path} --help", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough
        sys.exit(0)
    except Exception as error:
        from arena_install.crash import keep

        print(f"error: a fault of arena itself ({type(error).__name__}: {error})", file=sys.stderr)
        print(f"  fix: please report it with the file {keep(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _tell(error: ArenaError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
