"""Packages from PyPI by the ordinary clients: uv if it is there, else pip. The user's own index settings apply."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from arena_install.artifacts import child
from arena_install.errors import StepError


def install(name: str, version: str, target: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Put one distribution's files, without its dependencies, below target. Raises StepError."""
    what = f"fetch {name} {version} from PyPI"
    requirement = f"{name}=={version}"
    env = {**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"}
    if uv := shutil.which("uv"):
        argv = [uv, "pip", "install", "--python", sys.executable, "--no-deps", "--target", str(target), requirement]
    else:
        argv = [*_pip(what), "install", "--no-deps", "--no-compile", "--target", str(target), requirement]
    child.run(argv, what=what, log=log, env=env, timeout=900)


def install_for(python: str, pins: Sequence[str], target: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Put ready wheels (NAME==VERSION), without their dependencies, below target: for another Python (such as "3.13")
    on amd64 than the one that this runs in. Raises StepError.
    """
    what = f"fetch {pins[0]}{f' and {len(pins) - 1} more' if len(pins) > 1 else ''} for Python {python} from PyPI"
    env = {**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"}
    chosen = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--target", str(target), *pins]
    if uv := shutil.which("uv"):
        platform = ["--python", sys.executable, "--python-platform", "x86_64-manylinux_2_28"]
        argv = [uv, "pip", "install", *platform, *chosen]
    else:
        names = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
        platform = [word for name in names for word in ("--platform", f"{name}_x86_64")]
        argv = [*_pip(what), "install", "--no-compile", "--implementation", "cp", *platform, *chosen]
    child.run(argv, what=what, log=log, env=env, timeout=900)


def _pip(what: str) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise StepError(f"could not {what}", why="neither uv nor pip is installed", fix="install uv or pip")


def own_executable(distribution: str, version: str, name: str) -> Path:
    """An executable that a distribution installed beside us ships. Raises StepError if it is another version."""
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise StepError(
            f"{distribution} is not installed beside arena-install",
            fix="reinstall arena-install: the package is one of its dependencies",
        ) from None
    if found.version != version.removeprefix("v"):
        raise StepError(
            f"{distribution} is {found.version}, the lock wants {version}",
            fix=f"uv pip install {distribution}=={version.removeprefix('v')}",
        )
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if file.name == name and path.is_file() and os.access(path, os.X_OK) and not path.name.endswith(".py"):
            return path.resolve()
    raise StepError(f"{distribution} {found.version} has no executable {name}", fix="reinstall arena-install")
