"""The content-addressed cache: what was built or fetched once is found again by what went into it.

blobs/sha256/<hex>  every file, chart, layer, config and manifest, under the hash of its bytes
index/<input digest>.json  what an input digest gave: names of blobs, and their state when they were written
work/, logs/, go/, lock  folders of running processes, logs of builds, the Go caches, and who may build

Trust: a blob is used by its name, so its bytes must be that hash. Looking something up costs a stat per blob, compared
with size, inode and change time as written (only the kernel sets the change time, so an edit or a truncation shows);
anything else is hashed again and thrown out if it is wrong. What a stat can't show, a rotten disk, is caught where
bytes are handed out: `Cache.verified` hashes a blob in full once in a process. Registry and hosts check the hash again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from arena_install import paths
from arena_install.errors import StepError
from arena_install.events import Emit, Event

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    sha256: str  # hex
    size: int  # bytes

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


@dataclass(frozen=True)
class Entry:
    """What an input digest gave. result: JSON of the maker's own; blobs: all that it needs, by hex sha256."""

    inputs: str
    result: Mapping[str, Any]
    blobs: tuple[Blob, ...]


@dataclass
class Cache:
    root: Path = field(default_factory=paths.cache_dir)
    _hashed: dict[str, tuple[int, ...]] = field(default_factory=dict)

    # -- blobs

    def path(self, sha256: str) -> Path:
        return self.root / "blobs" / "sha256" / sha256

    def verified(self, sha256: str) -> Path:
        """The file with this hash, its bytes checked in full once in this process.

        Raises StepError if it is missing, or not what its name says (then it is removed).
        """
        path = self.path(sha256)
        try:
            state = _state(path)
        except FileNotFoundError:
            raise StepError(
                f"blob {sha256[:12]} is not in the cache",
                where=str(path),
                fix="run `arena-install up` again: it makes what is missing",
            ) from None
        if self._hashed.get(sha256) != state:
            if hash_file(path) != sha256:
                path.unlink(missing_ok=True)
                raise StepError(
                    f"blob {sha256[:12]} in the cache was damaged, and is removed now",
                    where=str(path),
                    why="its bytes do not have the hash that is its name: a failing disk, or somebody wrote there",
                    fix="run `arena-install up` again: it makes what is missing",
                )
            self._hashed[sha256] = state
        return path

    def put_bytes(self, data: bytes) -> Blob:
        with self.writer() as out:
            out.write(data)
        return out.blob

    def put_file(self, source: Path, *, expected: str = "") -> Blob:
        """Move a file in (copied if it lies on another file system). expected: hex sha256 that it must have."""
        with source.open("rb") as file:
            os.fsync(file.fileno())
        sha256 = hash_file(source)
        if expected and sha256 != expected:
            raise StepError(f"{source.name} is not what was promised", why=f"sha256 {sha256} instead of {expected}")
        size = source.stat().st_size
        try:
            source.chmod(0o644)
            self._adopt(source, sha256)
        except OSError as error:
            if error.errno != 18:  # EXDEV
                raise
            with self.writer() as out, source.open("rb") as file:
                shutil.copyfileobj(file, out, _CHUNK)
            source.unlink()
        return Blob(sha256, size)

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """A file to write to; it becomes a blob when the block ends, and is gone if the block raises."""
        folder = self.root / "blobs" / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        out = Writer(os.fdopen(descriptor, "wb"))
        fcntl.flock(out.file, fcntl.LOCK_EX)  # says that its process is alive: sweep() leaves it
        try:
            yield out
            out.finish()
            self._adopt(Path(name), out.blob.sha256)
        finally:
            out.file.close()
            Path(name).unlink(missing_ok=True)

    def _adopt(self, source: Path, sha256: str) -> None:
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.chmod(0o644)
        source.replace(target)
        _sync_folder(target.parent)
        self._hashed[sha256] = _state(target)

    # -- index

    def lookup(self, inputs: str) -> Entry | None:
        """What was made from these inputs, if all of it is still here and as it was written."""
        path = self._index(inputs)
        try:
            content = json.loads(path.read_bytes())
            blobs = []
            changed = False
            for sha256, (size, *state) in content["blobs"].items():
                now = _state(self.path(sha256))
                if now[0] != size:
                    raise FileNotFoundError(sha256)
                if list(now[1:]) != state:
                    self.verified(sha256)
                    changed = True
                blobs.append(Blob(sha256, size))
        except (FileNotFoundError, ValueError, KeyError, TypeError, StepError):
            return None
        entry = Entry(inputs, content["result"], tuple(blobs))
        if changed:
            self.record(inputs, entry.result, entry.blobs)
        return entry

    def record(self, inputs: str, result: Mapping[str, Any], blobs: tuple[Blob, ...]) -> Entry:
        states = {blob.sha256: list(_state(self.path(blob.sha256))) for blob in blobs}
        content = {"inputs": inputs, "at": int(time.time()), "result": dict(result), "blobs": states}
        write_atomically(self._index(inputs), json.dumps(content, sort_keys=True).encode())
        return Entry(inputs, result, blobs)

    def _index(self, inputs: str) -> Path:
        return self.root / "index" / f"{inputs}.json"

    # -- processes

    @contextmanager
    def builder(self, emit: Emit, step: str) -> Iterator[None]:
        """Hold the right to build: one process at a time, waiting (and saying so) while another has it.

        The kernel lets go of it when the process ends, however it ends.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                emit(Event("waiting", step, f"another process ({file.read().strip() or 'unknown'}) fills the cache"))
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(f"pid {os.getpid()}")
            file.flush()
            self.sweep()
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for this process alone, gone afterwards; if the process is killed, swept by the next one."""
        base = self.root / "work"
        base.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=base))
        with (folder / ".alive").open("w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            try:
                yield folder
            finally:
                remove_tree(folder)

    def sweep(self) -> None:
        """Remove what dead processes left behind. Whoever lives holds a lock on its own."""
        for folder in (self.root / "work").glob("*"):
            if _abandoned(folder / ".alive"):
                remove_tree(folder)
        for file in (self.root / "blobs" / "tmp").glob("*"):
            if _abandoned(file) and time.time() - file.stat().st_mtime > 60:
                file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Where the output of a build goes; the last run's is replaced."""
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name.replace('/', '_')}.log"


class Writer:
    """Hashes what it is given on the way to the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._hash.update(data)
        self.size += len(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def finish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

    @property
    def blob(self) -> Blob:
        return Blob(self._hash.hexdigest(), self.size)


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """All of it or nothing, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only parts too (the Go module cache is made of them)."""

    def writable(function: Any, name: str, _: Any) -> None:
        for path in (Path(name).parent, Path(name)):
            try:
                path.chmod(0o700)
            except OSError:
                pass
        try:
            function(name)
        except OSError:
            pass

    shutil.rmtree(folder, onerror=writable)


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_size, found.st_ino, found.st_ctime_ns)


def _abandoned(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        # A folder without the file: its owner died between the two calls, or is between them right now.
        try:
            return time.time() - lock.parent.stat().st_mtime > 60
        except OSError:
            return False
    except BlockingIOError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
