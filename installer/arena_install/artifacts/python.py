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

#: What wheels for Debian 13's libc may be tagged with, the newest first; pip has to be told each one.
_PLATFORMS = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_24",
    "manylinux_2_17",
    "manylinux2014",
    "manylinux_2_12",
    "manylinux2010",
    "manylinux_2_5",
    "manylinux1",
)


def install(name: str, version: str, target: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Put one distribution's files, without its dependencies, below target. Raises StepError."""
    what = f"fetch {name} {version} from PyPI"
    requirement = f"{name}=={version}"
    _install([requirement], target, what, log, environment)


def install_for(
    version: str, wheels: Mapping[str, str], target: Path, log: Path, environment: Mapping[str, str]
) -> None:
    """Put the wheels of distributions (name -> version), and nothing that they depend on, below target, as that version
    of Python ("3.13") on linux/amd64 wants them: it need not be ours. Raises StepError."""
    uv = ["--python-version", version, "--python-platform", f"x86_64-{_PLATFORMS[0]}"]
    # pip chooses for that version, and then holds what it chose against its own Python unless it is told not to.
    pip = ["--implementation", "cp", "--python-version", version, "--ignore-requires-python"]
    pip += [word for platform in _PLATFORMS for word in ("--platform", f"{platform}_x86_64")]
    wanted = [f"{name}=={one}" for name, one in wheels.items()]
    what = f"fetch {wanted[0]} and {len(wanted) - 1} more from PyPI"
    _install(["--only-binary", ":all:", *wanted], target, what, log, environment, uv=uv, pip=pip)


def _install(
    words: Sequence[str],
    target: Path,
    what: str,
    log: Path,
    environment: Mapping[str, str],
    *,
    uv: Sequence[str] = (),
    pip: Sequence[str] = (),
) -> None:
    """uv, pip: words for the one client that the other says differently."""
    env = {**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"}
    common = ["install", "--no-deps", "--target", str(target)]
    if program := shutil.which("uv"):
        argv = [program, "pip", *common, "--python", sys.executable, *uv, *words]
    elif importlib.util.find_spec("pip"):
        argv = [sys.executable, "-m", "pip", *common, "--no-compile", *pip, *words]
    elif program := shutil.which("pip3") or shutil.which("pip"):
        argv = [program, *common, "--no-compile", *pip, *words]
    else:
        raise StepError(f"could not {what}", why="neither uv nor pip is installed", fix="install uv or pip")
    child.run(argv, what=what, log=log, env=env, timeout=900)


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
