from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from arena_install.artifacts import converters, oci
from arena_install.artifacts.cache import Cache
from arena_install.errors import StepError


def contents(cache: Cache, layer: oci.Layer) -> tuple[dict[str, tarfile.TarInfo], bytes]:
    packed = cache.verified(layer.blob.sha256).read_bytes()
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {info.name: info for info in tar.getmembers()}, plain


def build(cache: Cache, source: Path) -> oci.Layer:
    made: list[oci.Layer] = []
    with oci.new_layer(cache, made.append) as layer:
        layer.file("/usr/bin/prog", source, mode=0o755)
        layer.link("/usr/bin/other", "prog")
        layer.file("/etc/conf", b"x = 1\n")
    return made[0]


def test_the_same_input_gives_the_same_layer(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "prog").write_bytes(b"program")
    first = build(cache, tmp_path / "prog")
    (tmp_path / "prog").touch()
    assert build(cache, tmp_path / "prog") == first
    members, _ = contents(cache, first)
    assert list(members) == ["usr", "usr/bin", "usr/bin/prog", "usr/bin/other", "etc", "etc/conf"]
    assert members["usr/bin/prog"].mode == 0o755
    assert {(info.uid, info.gid, info.mtime) for info in members.values()} == {(0, 0, 0)}


def rootfs(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, kind, data, link, mtime in (
            ("./zz-link", tarfile.LNKTYPE, b"", "./etc/hosts", 5),
            ("./", tarfile.DIRTYPE, b"", "", 5),
            ("./etc", tarfile.DIRTYPE, b"", "", 5),
            ("./etc/hosts", tarfile.REGTYPE, b"hosts", "", 1_700_000_000),
            ("./etc/made", tarfile.REGTYPE, b"now", "", 99_999_999_999),
            ("./dev", tarfile.DIRTYPE, b"", "", 5),
            ("./dev/null", tarfile.CHRTYPE, b"", "", 5),
            ("./dev/fd", tarfile.SYMTYPE, b"", "/proc/self/fd", 5),
            ("./usr/share/man/man1", tarfile.REGTYPE, b"manual", "", 5),
            ("./bin", tarfile.SYMTYPE, b"", "usr/bin", 5),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mtime, info.uid = kind, link, len(data), mtime, 7
            info.uname = "somebody"
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_debian_root_becomes_a_layer(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    layer = oci.rootfs_layer(cache, rootfs(tmp_path / "root.tar"), ["usr/share/man/*"])
    members, plain = contents(cache, layer)
    assert list(members) == ["bin", "dev", "etc", "etc/hosts", "etc/made", "zz-link"]
    assert members["etc/hosts"].mtime == 1_700_000_000  # Python's compiled files name the time of their source
    assert members["etc/made"].mtime == 0
    assert members["zz-link"].linkname == "etc/hosts"
    assert members["etc/hosts"].uid == 7
    assert b"somebody" not in plain
    assert oci.read_rootfs(tmp_path / "root.tar", "etc/hosts") == b"hosts"
    with pytest.raises(StepError, match="no file etc/shadow"):
        oci.read_rootfs(tmp_path / "root.tar", "etc/shadow")


def test_an_image_names_its_blobs(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    base = oci.static_layer(cache, b"certificates")
    (tmp_path / "prog").write_bytes(b"program")
    image = oci.image(
        cache, [base, build(cache, tmp_path / "prog")], arch="amd64", user="1:1", entrypoint=["/prog"], env={"A": "b"}
    )
    manifest = json.loads(cache.verified(image.manifest.sha256).read_bytes())
    assert [row["digest"] for row in (manifest["config"], *manifest["layers"])] == [b.digest for b, _ in image.blobs]
    config = json.loads(cache.verified(image.blobs[0][0].sha256).read_bytes())
    assert config["config"]["User"] == "1:1"
    assert config["config"]["Entrypoint"] == ["/prog"]
    assert "A=b" in config["config"]["Env"]
    assert config["rootfs"]["diff_ids"][0] == base.diff_id
    members, _ = contents(cache, base)
    assert members["tmp"].mode == 0o1777


def test_a_tar_is_unpacked_below_its_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    converters.pack({"a/b.py": b"b", "c": b"c"}, tmp_path / "good.tar")
    made: list[oci.Layer] = []
    with oci.new_layer(cache, made.append) as layer:
        layer.tar("/opt/data", tmp_path / "good.tar")
    assert list(contents(cache, made[0])[0]) == ["opt", "opt/data", "opt/data/a", "opt/data/a/b.py", "opt/data/c"]
    converters.pack({"../../etc/passwd": b"b"}, tmp_path / "bad.tar")
    with pytest.raises(StepError, match="reaches out"), oci.new_layer(cache, made.append) as layer:
        layer.tar("/opt/data", tmp_path / "bad.tar")


def test_digits_are_interleaved_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "package" / "src" / "digits"
    folder.mkdir(parents=True)
    for digit in range(10):
        rows = 2 if digit < 3 else 1
        (folder / f"{digit}.json").write_text(json.dumps({"data": [digit / 255, 1.0] * 392 * rows}))
    converters.mnist(tmp_path / "package", tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        data = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    assert list(data["labels.u8"]) == [*range(10), 0, 1, 2]
    assert json.loads(data["meta.json"])["shape"] == [13, 28, 28]
    assert len(data["images.u8"]) == 13 * 784
    assert list(data["images.u8"][784 * 3 : 784 * 3 + 4]) == [3, 255, 3, 255]
    (folder / "4.json").write_text('{"data": [1, 0]}')
    with pytest.raises(StepError, match="cut off"):
        converters.mnist(tmp_path / "package", tmp_path / "out.tar")
