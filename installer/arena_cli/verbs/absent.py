"""Commands of upstream's that can't be had here: each says why, and what does it instead."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import click

from arena_install.errors import ConfigError

REASONS = {
    "model": (
        "there is no model registry (MLflow) in the stack",
        "keep models on a --data volume; `arena serve` serves them from there",
    ),
    "evaluate": (
        "upstream has given it up, and it needs images that only Alibaba's registry has",
        "evaluate in a job of its own: arena submit pytorchjob",
    ),
    "llm": (
        "it passes everything on to a program called arena-rbg, which is not part of arena",
        "arena serve custom runs any server for language models",
    ),
}


class Absent(click.Command):
    """Takes any words, and refuses. reasons: name -> (why, what instead). path: "serve " of `arena serve NAME`."""

    def __init__(self, name: str, reasons: Mapping[str, tuple[str, str]] = REASONS, path: str = "") -> None:
        self.reason = reasons[name]
        super().__init__(
            name,
            add_help_option=False,
            context_settings={"ignore_unknown_options": True},
            params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
            callback=partial(_refuse, f"{path}{name}", self.reason),
        )


def _refuse(name: str, reason: tuple[str, str], words: tuple[str, ...]) -> None:
    why, fix = reason
    raise ConfigError(f"arena {name} can't be had here", why=why, fix=fix)


model, evaluate, llm = Absent("model"), Absent("evaluate"), Absent("llm")
