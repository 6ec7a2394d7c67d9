from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from arena_install.artifacts import archive
from arena_install.errors import StepError


def tar_of(content: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def deb_of(data: bytes) -> bytes:
    out = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", lzma.compress(data))):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    return out


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (b"program", []),
        (tar_of({"linux-amd64/README": b"x", "linux-amd64/helm": b"program"}), ["linux-amd64/helm"]),
        (deb_of(tar_of({"./usr/bin/nvidia-ctk": b"program"}, "w")), ["usr/bin/nvidia-ctk"]),
        (tar_of({"pkg/base_1.deb": deb_of(tar_of({"./usr/bin/x": b"program"}, "w"))}), ["*/base_*.deb", "usr/bin/x"]),
    ],
    ids=["bare", "tar", "deb", "deb in tar"],
)
def test_one_member_is_taken(tmp_path: Path, data: bytes, member: list[str]) -> None:
    (tmp_path / "file").write_bytes(data)
    archive.take(tmp_path / "file", member, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"program"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_out_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as made:
        made.writestr("bin/tool", b"program")
    archive.take(tmp_path / "file", ["bin/*"], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"program"


@pytest.mark.parametrize(
    "data",
    [b"<html>please log in</html>", tar_of({"other": b"x"}), deb_of(b"no tar")],
    ids=["page", "other tar", "broken deb"],
)
def test_what_is_not_there_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(StepError):
        archive.take(tmp_path / "file", ["prog"], tmp_path / "out")


def test_sources_are_unpacked_without_links(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("top/chart/Chart.yaml")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("top/evil")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "file").write_bytes(out.getvalue())
    (tmp_path / "to").mkdir()
    top = archive.unpack(tmp_path / "file", tmp_path / "to")
    assert sorted(path.name for path in top.rglob("*")) == ["Chart.yaml", "chart"]
    (tmp_path / "bad").write_bytes(tar_of({"../../out": b"x"}))
    with pytest.raises((StepError, tarfile.TarError)):
        archive.unpack(tmp_path / "bad", tmp_path / "to")
