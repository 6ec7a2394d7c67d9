"""The folder of SSH's control sockets: Ansible's connections are shared through them while a playbook runs.

A socket's path has a hundred characters at most, so they can't lie in the state folder. The folder is the same for
every run of a cluster: whatever a killed run left in it goes with the next one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/tmp")


@contextmanager
def control_folder(inventory: Path) -> Iterator[Path]:
    """A private folder for the sockets of this inventory's hosts; at the end connections close and it is removed."""
    folder = _private(hashlib.sha256(str(inventory.absolute()).encode()).hexdigest()[:10])
    try:
        yield folder
    finally:
        for socket in folder.iterdir():
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "all"]
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _private(name: str) -> Path:
    """Nobody else may have put it there: then it is one with another name."""
    folder = _ROOT / f"arena-install-{os.getuid()}-{name}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="arena-install-", dir=_ROOT))
