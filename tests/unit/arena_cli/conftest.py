from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent / "look"))

from fakeapi import FakeApi

from arena_cli import charts
from arena_cli.main import run
from arena_install.errors import ConfigError


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without kubeconfig, settings or charts of anybody's."""
    made = charts_helm()
    for key in [
        key for key in os.environ if key.startswith(("KUBE", "ARENA_", "PROMETHEUS_")) or "proxy" in key.lower()
    ]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("arena_cli.kube.config._ADMIN", tmp_path / "admin.conf")
    monkeypatch.setenv("TZ", "UTC")
    if made is not None:
        monkeypatch.setenv("ARENA_HELM", str(made))
    return tmp_path


@pytest.fixture
def arena(alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command by its entry point, in this process."""

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["arena", *words])
        monkeypatch.setattr(gc, "disable", lambda: None)  # of the tests' own process
        with pytest.raises(SystemExit) as ended:
            run()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return call


@pytest.fixture
def api(alone: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    with FakeApi() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(alone / "kubeconfig")))
        yield server


def charts_helm() -> Path | None:
    try:
        return charts.helm()
    except ConfigError:
        return None


@pytest.fixture(scope="session")
def helm() -> Path:
    """The real Helm. Skipped where this machine has none, unless it must be there (`make apiserver`)."""
    found = charts_helm()
    if found is None:
        if os.environ.get("ARENA_TEST_HELM") == "required":
            pytest.fail("no helm: `make e2e` makes one")
        pytest.skip("no helm on this machine: `make e2e` makes one")
    return found
