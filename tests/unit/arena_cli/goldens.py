"""golden/NAME.yaml is what `arena submit ... --dry-run` prints for the command in its first line; NAME.values.yaml is what
the flags become before Helm. Written by `python tests/unit/arena_cli/goldens.py`, read by people, compared by tests."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "installer"))

from arena_cli import yamltext
from arena_cli.command import Command
from arena_cli.flags import Given
from arena_cli.jobs.catalogue import CRON, RECIPES
from arena_cli.main import app

FOLDER = HERE / "golden"
COMMANDS = yaml.safe_load((HERE / "commands.yaml").read_text())


def values(command: str) -> str:
    """Of a submit or cron line, without Helm."""
    recipe, given = _given(command)
    return yamltext.dump(recipe.values(given, ()))


def _given(command: str) -> tuple[object, Given]:
    taken: list[Given] = []
    words = shlex.split(command)[1:]
    context = app.make_context("arena", words)
    group = app.get_command(context, words[0])
    inner = group.make_context(words[0], words[1:], parent=context)
    leaf = group.get_command(inner, words[1])
    assert isinstance(leaf, Command)
    name = leaf.verb.name
    object.__setattr__(leaf, "verb", leaf.verb.__class__(**{**vars(leaf.verb), "run": taken.append}))
    leaf.invoke(leaf.make_context(name, words[2:], parent=inner))
    return (CRON if words[0] == "cron" else RECIPES[name]), taken[0]


def printed(command: str) -> str:
    """By Helm."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        app(shlex.split(command)[1:] + ["--dry-run"], prog_name="arena", standalone_mode=False)
    return out.getvalue()


def main() -> None:
    os.environ["ARENA_CONFIG"] = os.environ["KUBECONFIG"] = "/nonexistent"
    for name, command in COMMANDS.items():
        (FOLDER / f"{name}.values.yaml").write_text(f"# {command}\n{values(command)}")
        (FOLDER / f"{name}.yaml").write_text(f"# {command}\n{printed(command)}")


if __name__ == "__main__":
    main()
