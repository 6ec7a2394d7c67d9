"""Volume claims, as `arena data list` prints them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from arena_cli.look import status as word
from arena_cli.look import text
from arena_cli.look.model import Object

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def table(claims: Iterable[Object], now: float, *, everywhere: bool) -> str:
    """description and owner are annotations that people may give a claim."""
    header = ["NAME", *(["NAMESPACE"] if everywhere else []), "ACCESSMODE", "DESCRIPTION", "OWNER", "AGE"]
    rows = []
    for claim in sorted(claims, key=lambda row: (row["metadata"]["namespace"], row["metadata"]["name"])):
        meta, notes = claim["metadata"], claim["metadata"].get("annotations") or {}
        modes = ",".join(_MODES.get(mode, mode) for mode in (claim.get("spec") or {}).get("accessModes") or ())
        rows.append(
            [
                str(meta["name"]),
                *([str(meta["namespace"])] if everywhere else []),
                modes,
                str(notes.get("description", "")),
                str(notes.get("owner", "")),
                text.age(now - (word.moment(meta.get("creationTimestamp")) or now)),
            ]
        )
    return text.table(header, rows)
