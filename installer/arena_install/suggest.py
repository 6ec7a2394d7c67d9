"""Did you mean ...? Edit distance for group names, difflib for keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def distance(a: str, b: str) -> int:
    """Edits that turn a into b: insert, delete, replace, or swap two neighbours (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row, before = row, [i] + [0] * len(b), row if i == 1 else before
        for j, y in enumerate(b, 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        before = last
    return row[-1]


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word most like this one, "" if none is."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A fix line: "did you mean `x`?", or the list of what is known."""
    known = list(known)
    guess = closest(word, known)
    return f"did you mean `{guess}`?" if guess else "known here: " + ", ".join(known)
