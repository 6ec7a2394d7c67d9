"""arena_files and host_tune: many small things in one call, each only when it differs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]
ROLES = Path(__file__).parents[3] / "roles"


@pytest.fixture
def files(run_module: RunModule) -> Callable[..., dict[str, Any]]:
    import grp
    import os
    import pwd

    owner = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}

    def call(*entries: dict[str, Any], check: bool = False) -> dict[str, Any]:
        return run_module("arena_files", files=[owner | entry for entry in entries], check=check)

    return call


def test_files_folders_and_links_in_one_call_and_then_nothing(files: Any, tmp_path: Path) -> None:
    wanted = (
        {"path": f"{tmp_path}/a/b.conf", "content": "x\n", "mode": "0600"},
        {"path": f"{tmp_path}/dir", "folder": True, "mode": "0700"},
        {"path": f"{tmp_path}/link", "link": "a/b.conf"},
        {"path": f"{tmp_path}/none", "absent": True, "content": ""},
    )
    assert len(files(*wanted)["paths"]) == 3
    assert (tmp_path / "link").read_text() == "x\n"
    assert (tmp_path / "a/b.conf").stat().st_mode & 0o777 == 0o600
    assert files(*wanted)["changed"] is False


def test_check_mode_says_and_does_not(files: Any, tmp_path: Path) -> None:
    answer = files({"path": f"{tmp_path}/f", "content": "x"}, check=True)
    assert answer["changed"] is True and not (tmp_path / "f").exists()


def test_a_secret_is_not_shown(files: Any, tmp_path: Path) -> None:
    answer = files({"path": f"{tmp_path}/f", "content": "hunter2", "secret": True})
    assert answer["diff"] == []
    assert json.dumps(answer["paths"]) == json.dumps([f"{tmp_path}/f"])


def test_a_wrong_kind_gives_way(files: Any, tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/no/where")
    files({"path": f"{tmp_path}/x", "content": "file now"})
    assert (tmp_path / "x").read_text() == "file now" and not (tmp_path / "x").is_symlink()


def test_swap_lines_are_marked_and_found_again() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("host_tune", ROLES / "host_base/library/host_tune.py")
    assert spec and spec.loader
    tune = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tune)
    fstab = "UUID=1 / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n# /old none swap sw 0 0\n"
    marked = tune.FSTAB_SWAP.sub(lambda line: tune.MARK + ": " + line.group(0), fstab)
    assert "# arena-install: /swapfile none swap sw 0 0" in marked
    assert tune.FSTAB_OURS.sub(r"\1", marked) == fstab


def specs() -> list[tuple[str, set[str], set[str]]]:
    rows = []
    for folder in sorted(ROLES.iterdir()):
        if (folder / "defaults/main.yml").exists() and folder.name != "ledger":
            import yaml

            defaults = set(yaml.safe_load((folder / "defaults/main.yml").read_text()) or {})
            options = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
                "options"
            ]
            rows.append((folder.name, defaults, set(options)))
    return rows


@pytest.mark.parametrize(("role", "defaults", "options"), specs())
def test_every_default_has_the_role_as_prefix_and_is_described(
    role: str, defaults: set[str], options: set[str]
) -> None:
    assert {name for name in defaults if not name.startswith(f"{role}_")} == set()
    assert defaults - options == set()


MAINS = [path for path in sorted(ROLES.glob("*/tasks/main.yml")) if path.parts[-3] != "ledger"]


@pytest.mark.parametrize("path", MAINS, ids=lambda path: path.parts[-3])
def test_every_role_that_does_also_undoes(path: Path) -> None:
    assert (path.parent / "reset.yml").exists()
    text = path.read_text()
    assert len(re.findall(r"tasks_from: begin", text)) == len(re.findall(r"tasks_from: end", text)) == 1
