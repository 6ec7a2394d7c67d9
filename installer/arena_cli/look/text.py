"""Tables and times as upstream's arena prints them: columns two blanks apart, short ages, local times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Lines with a newline each. The last column is as long as it is."""
    every = [list(header), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[n]) for row in every) + 2 for n in range(len(header))]
    lines = [
        "".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in every
    ]
    return "".join(f"{indent}{line}\n" for line in lines)


def ruled(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "  ") -> str:
    """The same with a rule under the header, inside `get`."""
    return table(header, [["-" * len(name) for name in header], *rows], indent)


def pairs(rows: Iterable[tuple[str, str]], gap: int = 2) -> str:
    """NAME: value, the values under one another."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 1 + gap
    return "".join(f"{f'{name}:'.ljust(width)}{value}\n" for name, value in rows)


def age(seconds: float) -> str:
    """45s, 10m, 2h, 3d, 1y."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    for size, unit in ((60, "s"), (60, "m"), (24, "h"), (365, "d")):
        if whole < size:
            return f"{whole}{unit}"
        whole //= size
    return f"{whole}y"


def local(moment: float | None) -> str:
    """2006-01-02 15:04:05, "" for None."""
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def as_json(value: Any) -> str:
    """Four blanks, and no newline at the end."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    from arena_cli import yamltext

    return yamltext.dump(value)
