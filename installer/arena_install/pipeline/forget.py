"""What the controller keeps of a cluster, and how it goes. The cache stays: it is every cluster's, and can be deleted
at any time.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from arena_install import paths

REPORT = "report"  # folder of a run


def kept(cluster: str) -> tuple[Path, ...]:
    """What there is to forget of a cluster, sorted; reads only."""
    return tuple(sorted((paths.state_home() / "clusters" / cluster).glob("*")))


def forget(cluster: str, *, inventory: Path | None = None, reports: bool = False) -> tuple[Path, ...]:
    """Remove a cluster's state folder, and our copy of its inventory if we made one. reports: keep the runs' reports;
    returns their folders.
    """
    state, copies = paths.state_home() / "clusters" / cluster, paths.state_home() / "inventories"
    found = sorted(state.glob(f"runs/*/{REPORT}")) if reports else ()
    saved = tuple(path for path in found if not path.parent.is_symlink())
    _empty(state, saved)
    if inventory is not None and inventory.is_relative_to(copies):
        _empty(copies / inventory.relative_to(copies).parts[0], ())
    return saved


def _empty(folder: Path, saved: Sequence[Path]) -> None:
    """Remove all of a folder but what is saved in it; with nothing saved, the folder and empty ones above it too."""
    for path in folder.iterdir() if folder.is_dir() else ():
        inside = [one for one in saved if one.is_relative_to(path)]
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        elif path not in saved:
            _empty(path, inside) if inside else shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        for above in (folder, folder.parent, paths.state_home()):
            above.rmdir()
