"""A clean stand for inventories: no vault, no settings of the developer's own, and fast command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import arena_install
from arena_install.inventory import ansible

from . import warm

Command = Callable[..., "Answer"]


def importable() -> dict[str, str]:
    """An environment in which a child imports the arena_install under test."""
    parts = [str(Path(arena_install.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, parts))}


class Answer:
    """What a finished command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Ansible's answers that all workers of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ansible-answers"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "ARENA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ARENA_INSTALL_STATE", str(tmp_path / "state"))


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch, answers: Path) -> None:
    """Ask Ansible the same question once per run: for files that no test changes."""
    monkeypatch.setattr(ansible, "_run", ansible._run)  # so that it is put back
    warm.remember(answers)


@pytest.fixture(scope="session")
def _warm_process(answers: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "warm.py"), str(answers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=importable(),
    )
    yield child
    assert child.stdin
    child.stdin.close()
    child.wait(10)


@pytest.fixture(scope="session")
def _warm(_warm_process: subprocess.Popen[str]) -> Command:
    def say(*argv: str) -> Answer:
        line: dict[str, Any] = {"cwd": os.getcwd(), "env": dict(os.environ), "argv": argv}  # noqa: PTH109
        assert _warm_process.stdin and _warm_process.stdout
        _warm_process.stdin.write(json.dumps(line) + "\n")
        _warm_process.stdin.flush()
        answer = json.loads(_warm_process.stdout.readline())
        return Answer(answer["code"], answer["out"], answer["err"])

    assert _warm_process.stdout
    assert json.loads(_warm_process.stdout.readline()) == "ready"
    return say


@pytest.fixture
def command(_warm: Command) -> Command:
    """Run `python -m arena_install ARGUMENTS` in this folder and environment."""
    return _warm


@pytest.fixture
def child_environment() -> dict[str, str]:
    return importable()
