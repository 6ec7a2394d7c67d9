"""golden/NAME.yaml is what the command in its first line prints with --dry-run; NAME.values.yaml is what its flags
become before Helm. Written by `PYTHONPATH=installer python tests/unit/arena_cli/goldens.py`, compared by tests."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from dataclasses import replace
from pathlib import Path

import yaml

from arena_cli import yamltext
from arena_cli.command import Command, Group
from arena_cli.flags import Given
from arena_cli.jobs.catalogue import CRON, RECIPES
from arena_cli.main import app
from arena_cli.serving.manage import MAKERS

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "golden"
COMMANDS = yaml.safe_load((HERE / "commands.yaml").read_text())


def values(command: str) -> str:
    """Of a submit, cron or serve line, without Helm."""
    words = shlex.split(command)[1:]
    taken: list[Given] = []
    context = app.make_context("arena", words)
    group = app.get_command(context, words[0])
    assert isinstance(group, Group)
    inner = group.make_context(words[0], words[1:], parent=context)
    leaf = group.get_command(inner, words[1])
    assert isinstance(leaf, Command)
    leaf.verb = replace(leaf.verb, run=taken.append)
    leaf.invoke(leaf.make_context(words[1], words[2:], parent=inner))
    make = {"cron": CRON.values, "serve": MAKERS.get(leaf.verb.name)}.get(words[0]) or RECIPES[leaf.verb.name].values
    return yamltext.dump(make(taken[0], ()))


def printed(command: str) -> str:
    """By Helm."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        app([*shlex.split(command)[1:], "--dry-run"], prog_name="arena", standalone_mode=False)
    return out.getvalue()


def main() -> None:
    os.environ["ARENA_CONFIG"] = os.environ["KUBECONFIG"] = "/nonexistent"
    for name, command in COMMANDS.items():
        (FOLDER / f"{name}.values.yaml").write_text(f"# {command}\n{values(command)}")
        (FOLDER / f"{name}.yaml").write_text(f"# {command}\n{printed(command)}")


if __name__ == "__main__":
    main()
