"""One writer per cluster: an flock on the controller, held by `up` and `down` and inherited by their children.

Because children inherit it, the lock of a killed `up` stays taken until the last process it started is gone; the
next `up` says who holds it and waits.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_install.errors import TimedOutError
from arena_install.events import Emit, Event


@contextmanager
def exclusive(path: Path, emit: Emit, patience: float = 30.0) -> Iterator[int]:
    """Hold `path` exclusively; yields the descriptor for children to inherit. Waits at most `patience` seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline, told = time.monotonic() + patience, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
                if time.monotonic() > deadline:
                    raise TimedOutError(
                        "another arena-install works on this cluster",
                        where=str(path),
                        why=f"held by {holder} or processes it started",
                        fix="wait for it to end, or end it, and run the same command again",
                    ) from None
                if not told:
                    emit(Event("waiting", "lock", f"held by {holder}"))
                    told = True
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
