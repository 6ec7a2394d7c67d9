"""Reading a file that a person wrote: bytes to text, with the line of whatever is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from arena_install.errors import ConfigError

#: No inventory or cluster.yaml comes near this; a disk image given by mistake does.
_MAX_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """Where the user wrote something; line counts from 1, 0 when the file as a whole is meant."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


NOWHERE = Source("")


def has_bom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BOM)) == _BOM


def read_text(path: Path, kind: str) -> str:
    """The file's text without a byte order mark. kind: what it should be ("an inventory"), for messages.

    Raises ConfigError if it is missing, unreadable, too large, binary or not UTF-8.
    """
    label = str(path)
    try:
        if path.is_dir():
            raise ConfigError(f"is a folder, {kind} was expected", where=label)
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "no such file"
            raise ConfigError(what, where=label, fix=f"give the path of {kind}")
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise ConfigError(f"too large for {kind}: {size} bytes, at most {_MAX_BYTES}", where=label)
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("cannot be read", where=label, why=error.strerror or str(error)) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ConfigError("is UTF-16, UTF-8 is needed", where=f"{label}:1", fix=f"iconv -f UTF-16 -t UTF-8 {label}")
    data = data.removeprefix(_BOM)
    if (at := data.find(b"\0")) >= 0:
        raise ConfigError(
            f"is binary (a zero byte), {kind} is text", where=_at(label, data, at), fix=f"give the path of {kind}"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"is not UTF-8: byte 0x{data[error.start]:02x}",
            where=_at(label, data, error.start),
            fix="save the file as UTF-8",
        ) from error


def _at(label: str, data: bytes, offset: int) -> str:
    return str(Source(label, data.count(b"\n", 0, offset) + 1))
