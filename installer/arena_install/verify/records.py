"""Reads what the payloads report: lines "ARENA-VERIFY {json}" among whatever else a log holds."""

from __future__ import annotations

import json
from typing import Any

MARK = "ARENA-VERIFY "


def records(log: str, kind: str = "") -> list[dict[str, Any]]:
    """The records of a log, in order; a line cut off by the end of the log is left out."""
    found = []
    for line in log.splitlines():
        if line.startswith(MARK):
            try:
                record = json.loads(line[len(MARK) :])
            except ValueError:
                continue
            if not kind or record.get("kind") == kind:
                found.append(record)
    return found
