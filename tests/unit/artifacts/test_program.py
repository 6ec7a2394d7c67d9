"""The tar of the arena command holds all that it imports, runs alone, and is the same for the same content."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
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
package = importlib.import_module(sys.argv[2])
for row in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not row.name.endswith("__main__"):
        importlib.import_module(row.name)
print(sys.modules["arena_install"].__file__)
"""


#: What the wheels of the dashboard bring, and what they want of a Python that is older than the image's.
SERVER = (
    "aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "frozenlist", "idna", "jinja2", "markupsafe", "multidict",
    "propcache", "typing_extensions.py", "yaml", "yarl",
)  # fmt: skip


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack("arena_cli", ("click", "yaml", "websocket"), tmp_path_factory.mktemp("program"))


def pack(package: str, modules: Sequence[str], folder: Path) -> Path:
    """The tar, unpacked; the modules of wheels are those beside this test."""
    site, wheels = Path(yaml.__file__).parents[1], folder / "wheels"
    wheels.mkdir()
    for name in modules:
        subprocess.run(["cp", "-rL", str(site / name), str(wheels)], check=True)
    program.pack(package, load_lock().own_charts(), [wheels, wheels], folder / "command.tar")
    with tarfile.open(folder / "command.tar") as tar:
        tar.extractall(folder / "out")
    return folder / "out"


def imported(packed: Path, package: str) -> None:
    command = [sys.executable, "-IS", "-c", EVERYTHING, str(packed / "lib"), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(packed))


def test_nothing_that_it_imports_is_missing(packed: Path) -> None:
    imported(packed, "arena_cli")


def test_the_dashboard_brings_what_it_imports_and_its_pages(tmp_path: Path) -> None:
    packed = pack("arena_dashboard", SERVER, tmp_path)
    imported(packed, "arena_dashboard")
    assert (packed / "lib/arena_dashboard/templates/style.css").is_file()
    assert not (packed / "lib/arena_install/data").exists() and not (packed / "lib/arena_cli/verbs/submit.py").exists()
    assert "from arena_dashboard.main import run" in (packed / "bin/arena_dashboard").read_text()


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
    for name in ("arena", "arena-dashboard"):
        spec = lock.find(name).spec
        assert isinstance(spec, File)
        assert spec.wheels == {name: importlib.metadata.version(name) for name in spec.wheels}
    from arena_install import __version__

    assert lock.components["arena"].version == __version__
