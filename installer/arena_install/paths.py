"""Where things live on the controller. Nothing else in the program spells out a directory.

cache: can be deleted at any time, costs only time (ARENA_INSTALL_CACHE, else XDG). state: one folder per cluster,
with the kubeconfig, resolved lock, run folders and reports (ARENA_INSTALL_STATE, else XDG). data: what ships with
the program: roles, playbooks, charts, the lock.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def cache_dir() -> Path:
    return _home("ARENA_INSTALL_CACHE", "XDG_CACHE_HOME", ".cache")


def state_home() -> Path:
    return _home("ARENA_INSTALL_STATE", "XDG_STATE_HOME", ".local/state")


def state_dir(cluster: str) -> Path:
    """The folder of one cluster. It is not made here: looking at a cluster leaves nothing behind."""
    return state_home() / "clusters" / cluster


def data_dir() -> Path:
    """Holds roles/, playbooks/, charts/ and components.lock.yaml: the checkout's root, or the wheel's data/."""
    packed = _PACKAGE / "data"
    return packed if packed.is_dir() else _PACKAGE.parents[1]


def package_dir() -> Path:
    """The program itself: some of its modules run elsewhere too, in images."""
    return _PACKAGE


def lock_file() -> Path:
    return data_dir() / "components.lock.yaml"


def _home(own: str, xdg: str, default: str) -> Path:
    if value := os.environ.get(own):
        return Path(value).expanduser().absolute()
    base = os.environ.get(xdg)
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / default
    return root / "arena-install"
