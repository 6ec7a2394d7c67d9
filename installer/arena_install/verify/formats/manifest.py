"""MANIFEST.sha256: a checksum of every file of a report, as `sha256sum -c MANIFEST.sha256` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

NAME = "MANIFEST.sha256"


def write(folder: Path) -> Path:
    """Write the manifest over everything below `folder` but itself; gives its path."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME:
            lines.append(f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n")
    target = folder / NAME
    target.write_text("".join(lines), encoding="utf-8")
    return target


def differences(folder: Path) -> list[str]:
    """What is not as the manifest says, one line each: files changed, missing, or not listed."""
    listed = {}
    for line in (folder / NAME).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {NAME}
    problems = [f"{name} is missing" for name in sorted(set(listed) - found)]
    problems += [f"{name} is not listed" for name in sorted(found - set(listed))]
    return problems + [
        f"{name} has changed" for name in sorted(found & set(listed)) if _digest(folder / name) != listed[name]
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
