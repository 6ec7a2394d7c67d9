"""The tar of the arena command holds all that it imports, runs alone, and is the same for the same content."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from arena_install import paths
from arena_install.artifacts import load_lock, program
from arena_install.artifacts.lock import File
from arena_install.errors import ConfigError, StepError

EVERYTHING = """\
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import arena_cli
for row in pkgutil.walk_packages(arena_cli.__path__, "arena_cli."):
    if not row.name.endswith("__main__"):
        importlib.import_module(row.name)
print(sys.modules["arena_install"].__file__)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar, unpacked; the modules of wheels are those beside this test."""
    folder = tmp_path_factory.mktemp("program")
    site = Path(yaml.__file__).parents[1]
    for name in ("click", "yaml", "websocket"):
        (folder / "wheels").mkdir(exist_ok=True)
        (folder / "wheels" / name).symlink_to(site / name)
    wheels = folder / "copied"
    subprocess.run(["cp", "-rL", str(folder / "wheels"), str(wheels)], check=True)
    program.pack("arena_cli", load_lock().own_charts(), [wheels, wheels], folder / "arena.tar")
    with tarfile.open(folder / "arena.tar") as tar:
        tar.extractall(folder / "out")
    return folder / "out"


def test_nothing_that_it_imports_is_missing(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-IS", "-c", EVERYTHING, str(packed / "lib")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(packed))


def test_it_holds_its_charts_and_no_others(packed: Path) -> None:
    charts = {path.name for path in (packed / "lib/arena_install/data/charts").iterdir()}
    assert {"arena-common", "pytorchjob", "serving"} <= charts
    assert "flannel" not in charts
    others = {Path(folder).name for folder in load_lock().own_charts()}
    assert charts | others == {path.name for path in (paths.data_dir() / "charts").iterdir()}


def test_the_launcher_is_a_program(packed: Path) -> None:
    launcher = packed / "bin/arena"
    assert os.access(launcher, os.X_OK)
    assert launcher.read_text().startswith("#!/usr/bin/python3 -IS\n")


def test_it_is_the_installers_own_part_that_travels(packed: Path) -> None:
    modules = {path.name for path in (packed / "lib/arena_install").iterdir()} - {"__pycache__"}
    assert modules == {
        "__init__.py", "crash.py", "data", "errors.py", "fastyaml.py", "paths.py", "podwords.py", "suggest.py",
    }  # fmt: skip


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "wheels/pkg").mkdir(parents=True)
    (tmp_path / "wheels/pkg/a.py").write_text("a")
    for name in ("one", "two"):
        program.pack("arena_cli", (), [tmp_path / "wheels"], tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_wheels_that_disagree_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "pkg").mkdir(parents=True)
        (tmp_path / name / "pkg/a.py").write_text(name)
    with pytest.raises(StepError, match=r"two wheels have another pkg/a\.py"):
        program.pack("arena_cli", (), [tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    with pytest.raises(ConfigError, match="there is no package other_cli"):
        program.pack("other_cli", (), [], tmp_path / "out")


def test_the_lock_says_what_is_installed_here() -> None:
    """Hosts run the command with the libraries that its tests ran with."""
    import importlib.metadata

    lock = load_lock()
    spec = lock.find("arena").spec
    assert isinstance(spec, File)
    pins = spec.wheels
    assert pins == {name: importlib.metadata.version(name) for name in pins}
    from arena_install import __version__

    assert lock.components["arena"].version == __version__
