"""Archives are unpacked the same on every Python 3.11, and never outside their folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from arena_install.artifacts.archive import extract
from arena_install.errors import StepError


def archive(**members: bytes) -> tarfile.TarFile:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data.seek(0)
    return tarfile.open(fileobj=data)


def test_files_come_out_and_links_do_not(tmp_path: Path) -> None:
    extract(archive(**{"package/a.json": b"{}"}), tmp_path)
    assert (tmp_path / "package/a.json").read_bytes() == b"{}"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StepError, match="leads out"):
        extract(archive(**{name: b"x"}), tmp_path / "in")
    assert not (tmp_path / "out").exists()
