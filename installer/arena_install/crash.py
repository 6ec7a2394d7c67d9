"""Keeps what a programming error of ours looked like, so that a report can be made of it."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from arena_install.paths import state_home


def keep(error: BaseException) -> Path:
    """Write the traceback to a private file and return its path."""
    folder = state_home() / "crashes"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}.txt"
    path.write_text("".join(traceback.format_exception(error)))
    path.chmod(0o600)
    return path
