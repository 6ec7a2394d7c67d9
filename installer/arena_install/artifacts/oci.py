"""OCI images without a container engine: layers are tars that we write, so the same input gives the same digest.

A layer is packed once and shared: all images on the root file system `base` carry the very same first layer. Times are
1970 and owners are 0, except in a Debian root, which keeps its owners and the times of its packages' files (Python's
compiled files name the time of their source).
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import posixpath
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from arena_install.artifacts.cache import Blob, Cache, Writer
from arena_install.errors import StepError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: 1 GB of PyTorch: 6 s and 348 MB, where gzip -1 takes 31 s and plain costs every node a GB over the network.
_LEVEL = 1
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    blob: Blob
    diff_id: str  # sha256:<hex> of the tar before compression


@dataclass(frozen=True)
class BuiltImage:
    """What the resolved lock says about an image; manifest is a blob too."""

    manifest: Blob
    blobs: tuple[tuple[Blob, str], ...]  # with media types: config first, then layers
    media_type: str = MANIFEST


class LayerWriter:
    """A tar that becomes a layer. Add in any order; folders come by themselves."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: set[str] = set()

    def file(self, path: str, source: Path | bytes, *, mode: int = 0o644) -> None:
        info = self._info(path, tarfile.REGTYPE, mode)
        if isinstance(source, bytes):
            info.size = len(source)
            self._tar.addfile(info, io.BytesIO(source))
            return
        info.size = source.stat().st_size
        with source.open("rb") as file:
            self._tar.addfile(info, file)

    def link(self, path: str, target: str) -> None:
        info = self._info(path, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        self._tar.addfile(info)

    def folder(self, path: str, *, mode: int = 0o755) -> None:
        name = path.strip("/")
        if name and name not in self._folders:
            info = self._info(name, tarfile.DIRTYPE, mode)
            self._folders.add(name)
            self._tar.addfile(info)

    def tar(self, folder: str, source: Path) -> None:
        """Everything in a tar, below a folder: files, folders and symlinks, as root's."""
        with tarfile.open(source) as archive:
            for member in sorted(archive.getmembers(), key=lambda one: one.name):
                path = posixpath.normpath(posixpath.join(folder, member.name))
                if not path.startswith(folder.rstrip("/")):
                    raise StepError(f"{source.name} reaches out of its folder", why=member.name)
                if member.isdir():
                    self.folder(path, mode=member.mode & 0o777)
                elif member.issym():
                    self.link(path, member.linkname)
                elif member.isfile():
                    info = self._info(path, tarfile.REGTYPE, member.mode & 0o777)
                    info.size = member.size
                    self._tar.addfile(info, archive.extractfile(member))

    def raw(self, info: tarfile.TarInfo, content: BinaryIO | Any | None) -> None:
        self._folders.add(info.name.strip("/"))
        self._tar.addfile(info, content)

    def _info(self, path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        name = path.strip("/")
        parent = posixpath.dirname(name)
        if parent:
            self.folder(parent)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, mode, 0
        return info


@contextmanager
def new_layer(cache: Cache, result: Callable[[Layer], None]) -> Iterator[LayerWriter]:
    """Write a layer into the cache; `result` gets it when the block has ended."""
    with cache.writer() as out:
        sink = _Sink(out)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as tar:  # type: ignore[call-overload]
            yield LayerWriter(tar)
        sink.close()
    result(Layer(out.blob, sink.diff_id))


class _Sink:
    """Hashes the plain tar, packs it, and passes it on."""

    def __init__(self, out: Writer) -> None:
        self._hash = hashlib.sha256()
        self._packed = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(out, closefd=False)  # type: ignore[arg-type]

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._packed.write(data)
        return len(data)

    def close(self) -> None:
        self._packed.close()  # type: ignore[no-untyped-call]

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def rootfs_layer(cache: Cache, rootfs: Path, drop: Sequence[str]) -> Layer:
    """A layer out of a root file system's tar: without /dev, without what `drop` (globs) names, in sorted order."""
    made: list[Layer] = []
    today = time.time() - 86400
    with tarfile.open(rootfs) as archive, new_layer(cache, made.append) as layer:
        members = {posixpath.normpath(one.name): one for one in archive.getmembers()}
        # Hard links after what they point to; everything else by name, so that folders come before what is in them.
        for name, member in sorted(members.items(), key=lambda item: (item[1].islnk(), item[0])):
            if (
                name == "."
                or name.startswith("dev/")
                or not (member.isfile() or member.isdir() or member.issym() or member.islnk())
            ):
                continue
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in drop) and not name.startswith("usr/share/doc/"):
                continue
            member.name = name
            member.uname = member.gname = ""
            if member.islnk():
                member.linkname = posixpath.normpath(member.linkname)
            # What the installation wrote is as old as the installation: that must not show in the digest.
            member.mtime = 0 if member.mtime > today else int(member.mtime)
            member.pax_headers = {
                key: text for key, text in member.pax_headers.items() if key.startswith("SCHILY.xattr.")
            }
            layer.raw(member, archive.extractfile(member) if member.isfile() else None)
    return made[0]


def read_rootfs(rootfs: Path, path: str) -> bytes:
    """Content of one file of a root file system's tar. Raises StepError if it has none."""
    with tarfile.open(rootfs) as archive:
        for member in archive:
            if posixpath.normpath(member.name) == path:
                while member.issym():
                    target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
                    member = archive.getmember(f"./{target}")
                file = archive.extractfile(member)
                if file is not None:
                    return file.read()
    raise StepError(f"the root file system has no file {path}", where=rootfs.name)


def static_layer(cache: Cache, certificates: bytes) -> Layer:
    """What a static program expects around it: certificates, names for the usual users, and /tmp."""
    made: list[Layer] = []
    with new_layer(cache, made.append) as layer:
        users = [("root", 0, "/root"), ("nobody", 65534, "/nonexistent"), ("nonroot", 65532, "/home/nonroot")]
        layer.file("etc/passwd", "".join(f"{n}:x:{i}:{i}::{h}:/sbin/nologin\n" for n, i, h in users).encode())
        layer.file("etc/group", "".join(f"{n}:x:{i}:\n" for n, i, _ in users).encode())
        layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
        layer.file("etc/ssl/certs/ca-certificates.crt", certificates)
        layer.folder("tmp", mode=0o1777)
    return made[0]


def image(
    cache: Cache,
    layers: Sequence[Layer],
    *,
    arch: str,
    user: str = "",
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> BuiltImage:
    """Config and manifest around layers, as blobs."""
    settings: dict[str, Any] = {"Env": [_PATH, *(f"{name}={value}" for name, value in sorted((env or {}).items()))]}
    for key, value in (("User", user), ("Entrypoint", list(entrypoint)), ("Cmd", list(command)), ("Labels", labels)):
        if value:
            settings[key] = value
    config = {
        "architecture": arch,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "arena-install"} for _ in layers],
    }
    stored = cache.put_bytes(_json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": stored.digest, "size": stored.size},
        "layers": [
            {"mediaType": LAYER, "digest": layer.blob.digest, "size": layer.blob.size} for layer in layers
        ],
    }  # fmt: skip
    blobs = ((stored, CONFIG), *((layer.blob, LAYER) for layer in layers))
    return BuiltImage(cache.put_bytes(_json(manifest)), blobs)


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
