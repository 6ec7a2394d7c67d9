"""Taking single files or a folder out of upstream's archives: .tar.*, .zip, and .deb with a tar inside."""

from __future__ import annotations

import fnmatch
import io
import os
import posixpath
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import zstandard

from arena_install.errors import StepError

_AR = b"!<arch>\n"


def take(archive: Path, member: Sequence[str], out: Path) -> None:
    """Write one member to out. member: path (globs allowed) in the archive, then in the archive found there, and so on.

    Raises StepError if there is no such member, or no such archive.
    """
    if not member:
        shutil.copyfile(archive, out)
        return
    with open_tar(archive) if not zipfile.is_zipfile(archive) else _no_tar() as tar:
        source = _in_zip(archive, member[0]) if tar is None else _in_tar(tar, member[0])
        if source is None:
            raise StepError(f"there is no {member[0]} in the archive", where=archive.name)
        target = out if len(member) == 1 else out.with_name(out.name + ".inner")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    if len(member) > 1:
        take(target, member[1:], out)
        target.unlink()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a source archive, links left out (as Go modules have it); returns its only top folder."""
    with open_tar(archive) as tar:
        extract(tar, folder)
    tops = [path for path in folder.iterdir() if path.is_dir()]
    if len(tops) != 1:
        raise StepError("this is no source archive: it has not one top folder", where=archive.name)
    return tops[0]


def extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Extract files and folders, nothing else. Raises StepError for a name that leads out of `folder`.

    The check is ours because Debian 12's Python 3.11.2 has no extraction filters.
    """
    for one in tar:
        if not (one.isfile() or one.isdir()):
            continue
        path = PurePosixPath(one.name)
        if path.is_absolute() or ".." in path.parts:
            raise StepError(f"the archive has an entry that leads out of it: {one.name}", where=str(tar.name))
        one.mode = 0o755 if one.isdir() or one.mode & 0o100 else 0o644
        one.uid = one.gid = os.getuid()
        one.uname = one.gname = ""
        tar.extract(one, folder)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar, packed in any way, or the one with the files of a Debian package. Raises StepError if it is neither."""
    try:
        with path.open("rb") as file:
            if file.read(8) == _AR:
                name, data = _deb_data(file)
                stream: IO[bytes] = io.BytesIO(data)
                if name.endswith(".zst"):
                    stream = io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(data))
                with tarfile.open(fileobj=stream) as tar:
                    yield tar
                return
        with tarfile.open(path) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zstandard.ZstdError) as error:
        raise StepError("this archive can't be read", where=path.name, why=str(error)) from error


@contextmanager
def _no_tar() -> Iterator[None]:
    yield None


def _deb_data(file: IO[bytes]) -> tuple[str, bytes]:
    while header := file.read(60):
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        data = file.read(size + size % 2)[:size]
        if name.startswith("data.tar"):
            return name, data
    raise tarfile.TarError("no data.tar in the Debian package")


def _in_tar(tar: tarfile.TarFile, pattern: str) -> IO[bytes] | None:
    for one in tar:
        if one.isfile() and fnmatch.fnmatchcase(posixpath.normpath(one.name), pattern):
            return tar.extractfile(one)
    return None


def _in_zip(path: Path, pattern: str) -> IO[bytes] | None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if fnmatch.fnmatchcase(name, pattern):
                return io.BytesIO(archive.read(name))
    return None
