from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arena_install.artifacts.cache import Cache, remove_tree, write_atomically
from arena_install.errors import StepError
from arena_install.events import Event, ignore


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_a_blob_is_found_by_its_bytes(cache: Cache, tmp_path: Path) -> None:
    blob = cache.put_bytes(b"hello")
    assert blob.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert cache.verified(blob.sha256).read_bytes() == b"hello"
    (tmp_path / "file").write_bytes(b"hello")
    assert cache.put_file(tmp_path / "file") == blob
    assert not (tmp_path / "file").exists()


def test_a_promise_is_held_to(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(StepError, match="not what was promised"):
        cache.put_file(tmp_path / "file", expected="0" * 64)
    assert not list((cache.root / "blobs").glob("sha256/*"))


def test_damage_is_found_and_removed(cache: Cache) -> None:
    blob = cache.put_bytes(b"hello")
    cache.path(blob.sha256).write_bytes(b"HELLO")
    with pytest.raises(StepError, match="damaged"):
        Cache(cache.root).verified(blob.sha256)
    assert not cache.path(blob.sha256).exists()
    with pytest.raises(StepError, match="not in the cache"):
        cache.verified(blob.sha256)


def test_damage_that_keeps_size_and_time_is_found_in_use(cache: Cache) -> None:
    blob = cache.put_bytes(b"hello")
    before = cache.path(blob.sha256).stat()
    cache.path(blob.sha256).write_bytes(b"HELLO")
    os.utime(cache.path(blob.sha256), ns=(before.st_atime_ns, before.st_mtime_ns))
    cache.record("inputs", {}, (blob,))  # as if a stat had been taken of the damaged file
    fresh = Cache(cache.root)
    assert fresh.lookup("inputs") is not None
    with pytest.raises(StepError, match="damaged"):
        fresh.verified(blob.sha256)
    assert fresh.lookup("inputs") is None


@pytest.mark.parametrize("harm", ["edit", "truncate", "remove", "index"])
def test_an_entry_counts_only_if_all_of_it_is_there(cache: Cache, harm: str) -> None:
    blob = cache.put_bytes(b"hello world")
    cache.record("inputs", {"a": 1}, (blob,))
    entry = cache.lookup("inputs")
    assert entry is not None and entry.result == {"a": 1}
    path = cache.path(blob.sha256)
    if harm == "edit":
        path.write_bytes(b"hello WORLD")
    elif harm == "truncate":
        os.truncate(path, 3)
    elif harm == "remove":
        path.unlink()
    else:
        (cache.root / "index" / "inputs.json").write_text('{"blobs": ')
    assert Cache(cache.root).lookup("inputs") is None


def test_a_touched_blob_is_looked_at_once_and_kept(cache: Cache) -> None:
    blob = cache.put_bytes(b"hello")
    cache.record("inputs", {}, (blob,))
    cache.path(blob.sha256).chmod(0o600)  # what a backup program does to the change time
    assert Cache(cache.root).lookup("inputs") is not None


def test_a_write_that_fails_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache.writer() as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert [path for path in cache.root.rglob("*") if path.is_file()] == []
    write_atomically(tmp_path / "file", b"1", 0o600)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".file*")] == []


_HOLD = """
import sys, time
from pathlib import Path
from arena_install.artifacts.cache import Cache
from arena_install.events import ignore
cache = Cache(Path(sys.argv[1]))
with cache.builder(ignore, "x"), cache.workspace() as folder, cache.writer() as out:
    out.write(b"half")
    (folder / "big").write_text("half")
    print("holding", flush=True)
    time.sleep(60)
"""


def test_the_next_process_waits_and_sweeps_what_a_killed_one_left(cache: Cache) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(cache.root)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"holding\n"
    cache.sweep()
    assert list((cache.root / "work").glob("*/big"))  # its owner lives
    events: list[Event] = []

    def kill(event: Event) -> None:
        events.append(event)
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    for part in (cache.root / "blobs" / "tmp").iterdir():
        os.utime(part, (time.time() - 100, time.time() - 100))
    with cache.builder(kill, "artifacts/test"):
        assert [event.kind for event in events] == ["waiting"]
        assert f"pid {holder.pid}" in events[0].text
    assert list((cache.root / "work").iterdir()) == []
    assert list((cache.root / "blobs" / "tmp").iterdir()) == []


def test_the_right_to_build_is_let_go(cache: Cache) -> None:
    for _ in range(2):
        with cache.builder(ignore, "x"):
            pass


def test_read_only_trees_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "module" / "deep"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    (folder / "file").chmod(0o444)
    folder.chmod(0o555)
    folder.parent.chmod(0o555)
    remove_tree(tmp_path / "module")
    assert not (tmp_path / "module").exists()
