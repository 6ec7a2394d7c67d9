"""The lines that the probe prints, sorted by what they say of themselves."""

from __future__ import annotations

import re
from collections import defaultdict


class Lines:
    """`values`: key -> value of "key=value" lines. `rows`: kind -> fields of "kind|field|..." lines, unsplit."""

    def __init__(self, output: str) -> None:
        self.values: dict[str, str] = {}
        self.rows: dict[str, list[str]] = defaultdict(list)
        for line in output.splitlines():
            if match := re.match(r"([A-Za-z0-9_.]+)([=|])(.*)", line):
                key, separator, rest = match.groups()
                if separator == "=":
                    self.values[key] = rest.strip()
                else:
                    self.rows[key].append(rest)

    def text(self, key: str) -> str:
        return self.values.get(key, "")

    def number(self, key: str) -> int:
        return number(self.text(key))

    def split(self, kind: str, fields: int) -> list[list[str]]:
        """Rows with at least that many fields; the last takes what remains."""
        return [parts for row in self.rows[kind] if len(parts := row.split("|", fields - 1)) == fields]


def number(text: str) -> int:
    """0 for what is no number: an odd host costs a fact and no more."""
    return int(text) if text.strip().isdecimal() else 0
