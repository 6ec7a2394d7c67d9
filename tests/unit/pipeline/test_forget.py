"""After `down` the controller keeps what the user asked to keep, and no empty folder beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_install import paths
from arena_install.pipeline.forget import forget, kept


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARENA_INSTALL_STATE", str(tmp_path / "state"))
    folder = paths.state_dir("arena")
    for name in ("kubeconfig", "lock", "runs/1-up/report/report.html", "runs/1-up/ansible/log", "runs/2-down/x"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "runs/last").symlink_to("1-up")
    return folder


def test_nothing_is_left_not_even_folders(state: Path) -> None:
    assert [path.name for path in kept("arena")] == ["kubeconfig", "lock", "runs"]
    assert forget("arena") == ()
    assert not paths.state_home().exists()
    assert forget("arena") == () and kept("arena") == ()


def test_another_cluster_keeps_its_state(state: Path) -> None:
    other = paths.state_dir("other") / "kubeconfig"
    other.parent.mkdir()
    other.write_text("")
    forget("arena")
    assert [path for path in paths.state_home().rglob("*") if path.is_file()] == [other]


def test_reports_stay_when_asked_for(state: Path) -> None:
    assert forget("arena", reports=True) == (state / "runs/1-up/report",)
    left = [str(path.relative_to(state)) for path in sorted(state.rglob("*"))]
    assert left == ["runs", "runs/1-up", "runs/1-up/report", "runs/1-up/report/report.html"]


def test_our_copy_of_an_inventory_goes_too(state: Path) -> None:
    copy = paths.state_home() / "inventories/ab12/hosts.ini"
    copy.parent.mkdir(parents=True)
    copy.write_text("")
    forget("arena", inventory=copy)
    assert not paths.state_home().exists()


def test_the_users_inventory_stays(state: Path, tmp_path: Path) -> None:
    own = tmp_path / "hosts.ini"
    own.write_text("")
    forget("arena", inventory=own)
    assert own.exists()
