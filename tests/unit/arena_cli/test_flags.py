"""How flags are typed: Go's ways, names of before, and what is said of those that can't be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from arena_cli.command import Command, Verb, command_line
from arena_cli.flags import Flag, Given, duration
from arena_install.errors import ConfigError

FLAGS = (
    Flag("name", "text", "", required=True),
    Flag("workers", "number", "", 1),
    Flag("gang", "switch", ""),
    Flag("shutdown", "switch", "", True),
    Flag("env", "list", "", short="e"),
    Flag("all-namespaces", "switch", "", short="A"),
    Flag("working-dir", "text", "", "/root", old=("workingDir",)),
    Flag("mode", "text", "", choices=("hard", "soft")),
    Flag("queue", "switch", "", refused="nothing would let the job go"),
)


def typed(*words: str) -> Given:
    taken: list[Given] = []
    command = Command(Verb("x", "", FLAGS, taken.append, "[COMMAND]..."), "x")
    command.main(list(words), prog_name="arena", standalone_mode=False)
    return taken[0]


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--workers=3"], "workers", 3),
        (["--workers", "3"], "workers", 3),
        ([], "workers", 1),
        (["--gang"], "gang", True),
        (["--gang=true"], "gang", True),
        (["--gang=false"], "gang", False),
        (["--shutdown=false"], "shutdown", False),
        (["-A"], "all-namespaces", True),
        (["-e", "A=1", "--env=B=2", "-eC=3"], "env", ("A=1", "B=2", "C=3")),
        (["--workingDir", "/w"], "working-dir", "/w"),
        (["-e", "--gang=false"], "env", ("--gang=false",)),
        (["--working-dir", "--queue"], "working-dir", "--queue"),
    ],
)
def test_values(words: list[str], name: str, value: Any) -> None:
    assert typed("--name", "a", *words)._values[name] == value


def test_words_stand_anywhere_and_after_two_hyphens() -> None:
    assert typed("python train.py", "--name", "a").words == ("python train.py",)
    assert typed("--name", "a", "--", "python", "--gang=false").words == ("python", "--gang=false")
    assert not typed("--name", "a", "--", "--gang").on("gang")


def test_what_was_typed_is_known() -> None:
    given = typed("--name", "a", "-e", "A=1", "--workers=1")
    assert given.typed("env") and given.typed("workers") and not given.typed("gang")


def test_old_names_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    typed("--name", "a", "--workingDir=/w")
    assert "--workingDir is the old name of --working-dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "a", "--queue"], "nothing would let the job go"),
        (["--name", "a", "--queue=true"], "nothing would let the job go"),
        ([], "--name is missing"),
        (["--name", "a", "--gang=maybe"], "neither true nor false"),
        (["--name", "a", "--mode", "softly"], "did you mean `soft`?"),
    ],
)
def test_refusals(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        typed(*words)
    assert said in str(refused.value)


def test_a_number_is_a_number() -> None:
    with pytest.raises(click.BadParameter) as refused:
        typed("--name", "a", "--workers", "two")
    assert "--workers" in refused.value.format_message() and "'two'" in refused.value.format_message()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "tfjob", "--worker", "2"), "did you mean `--workers`?"),
        (("submit", "pytorchjob", "--ps-image", "x"), "it is a flag of `arena submit tfjob`"),
        (("submit", "pytorchjob", "--name", "x", "--epochs", "3"), "put the command in quotes"),
        (("submit", "pytorchjobs"), "did you mean `arena submit pytorchjob`?"),
        (("sumbit",), "did you mean `arena submit`?"),
        (("list", "--all-namespace"), "did you mean `--all-namespaces`?"),
        (("--quiet", "list"), "arena has no flag --quiet"),
        (("get",), "needs the name of a job"),
        (("get", "a", "b"), "one word too many"),
        (("list", "a"), "one word too many"),
        (("--pprof", "list"), "profiles a Go program"),
        (("model", "list"), "no model registry"),
        (("completion", "tcsh"), "no shell that is known"),
        (("list", "-o", "table"), "wide"),
        (("top", "node", "-m", "share"), "Alibaba"),
        (("top", "node", "-r"), "needs --details and one node"),
        (("logs", "x", "--since", "5m", "--since-time", "2026-01-01T00:00:00Z"), "exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_says_the_right_one(arena: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    done = arena(*words)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("0", 0), ("90s", 90), ("1m", 60), ("1h30m", 5400), ("1.5h", 5400), ("100ms", 1), ("24h", 86400)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration("--ttl", text) == seconds


@pytest.mark.parametrize("text", ["5", "1d", "soon", "-1m", "1h 30m"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        duration("--ttl", text)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("python train.py && echo 'done'",), "python train.py && echo 'done'"),
        (("python", "train.py", "--lr=0.1"), "python train.py --lr=0.1"),
        (("echo", "a b", "it's"), """echo 'a b' 'it'"'"'s'"""),
        (("echo", ""), "echo ''"),
        (("a", "&&", "b"), "a && b"),
    ],
)
def test_the_command_keeps_its_words(words: tuple[str, ...], line: str) -> None:
    assert command_line(words) == line
