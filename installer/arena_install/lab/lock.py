"""One process at a time changes a lab: makes it, removes it, or breaks and mends something in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arena_install.lab.model import folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Waits for whoever has it. The lock is in the folder that `down` removes, so look again after waiting."""
    path = folder(name) / "lock"
    while True:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle: Any
        try:
            handle = path.open("w")
        except FileNotFoundError:
            continue
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                yield
                return
