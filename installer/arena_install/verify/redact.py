"""Secrets never reach a report: values under telling names are blanked before anything is written as evidence."""

from __future__ import annotations

import re
from typing import Any

BLANK = "<redacted>"
_TELLING = re.compile(r"passw|secret$|token$|api_?key|private_?key|credential|\.dockerconfigjson", re.IGNORECASE)
_NOISE = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")


def redacted(value: Any) -> Any:
    """A copy without secrets and without the server's bookkeeping (managedFields)."""
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "Secret":
        value = {key: (BLANK if key in ("data", "stringData") else entry) for key, entry in value.items()}
    if isinstance(value.get("name"), str) and isinstance(value.get("value"), str) and _TELLING.search(value["name"]):
        return {**value, "value": BLANK}
    return {
        key: (BLANK if isinstance(entry, str) and entry and _TELLING.search(str(key)) else redacted(entry))
        for key, entry in value.items()
        if key not in _NOISE
    }
