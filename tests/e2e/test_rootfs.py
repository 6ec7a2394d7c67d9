"""Debian roots are made whole or not at all, and a builder that is killed leaves nothing that runs or is mounted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from arena_install.artifacts import rootfs
from arena_install.events import ignore
from arena_install.paths import cache_dir
from lab_fixture import require_lab

pytestmark = pytest.mark.lab

BUILD = """
import sys
from pathlib import Path
from arena_install.artifacts.rootfs import build_rootfs
build_rootfs("trixie", ["busybox-static"], Path(sys.argv[1]), lambda event: print(event.text, flush=True))
"""


def traces(folder: str) -> list[str]:
    """Processes and mounts that know the folder, in every mount namespace that a process is in."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if folder in (process / "cmdline").read_text() or folder in (process / "mounts").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_kill_9_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    require_lab()
    out = tmp_path / "root.tar"
    before = set((cache_dir() / "tmp").glob("rootfs-*"))
    child = subprocess.Popen([sys.executable, "-c", BUILD, str(out)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "installing essential packages":
            break
    (work,) = set((cache_dir() / "tmp").glob("rootfs-*")) - before
    assert traces(work.name)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(50):
        if not traces(work.name):
            break
        time.sleep(0.1)
    assert traces(work.name) == []
    assert not out.exists() and work.exists()
    info = rootfs.build_rootfs(
        "trixie", ["busybox-static"], out, ignore, setup=["echo made > /etc/made"], download_only=["zstd"]
    )
    assert not work.exists() and list(tmp_path.iterdir()) == [out]
    assert info.size == out.stat().st_size and info.version("busybox-static")
    with tarfile.open(out) as tar:
        names = set(tar.getnames())
        made = tar.extractfile("./etc/made")
        assert made is not None and made.read() == b"made\n"
    debs = {name.rpartition("/")[2].partition("_")[0] for name in names if name.endswith(".deb")}
    assert "zstd" in debs and "busybox-static" not in debs
    assert not [name for name in names if name.startswith(("./usr/share/man/man1/", "./tmp/"))]
    assert [name for name in names if name.startswith("./etc/apt/sources.list") and name.endswith(".list")]


def test_a_package_that_does_not_exist_is_named(tmp_path: Path) -> None:
    require_lab()
    with pytest.raises(rootfs.StepError) as error:
        rootfs.build_rootfs("trixie", ["no-such-package-here"], tmp_path / "root.tar", ignore)
    assert "no-such-package-here" in error.value.why and not list(tmp_path.iterdir())


def test_a_root_for_an_image_holds_neither_lists_nor_a_mirror(tmp_path: Path) -> None:
    require_lab()
    out = tmp_path / "root.tar"
    rootfs.build_rootfs("trixie", ["busybox-static"], out, ignore)
    with tarfile.open(out) as tar:
        names = tar.getnames()
    assert not {"./etc/apt/sources.list", "./etc/apt/apt.conf.d/99mmdebstrap"}.intersection(names)
    assert not [name for name in names if "/var/lib/apt/lists/" in name and name.endswith("Packages")]
