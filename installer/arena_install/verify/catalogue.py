"""What can be proved, as a table: for people (docs/checks.md) and for programs (`arena-install schema checks`)."""

from __future__ import annotations

from typing import Any

from arena_install.verify.model import SUITES
from arena_install.verify.registry import load

_HEAD = """\
# Every check

What `arena-install verify` can prove, suite by suite; written by `arena-install schema checks --markdown`. A check that
is skipped is never a pass; one that must not be skipped is marked *required*. *Reads only*: `verify --read-only` runs
it too. *When asked for*: it takes long, or disturbs for a moment, and runs with `--all`, `--suite` or `--check`. Which
fault makes each one fail is in `arena-install lab fault`; what the field checks beside, and why we don't, in
[coverage.md](coverage.md).
"""


def rows() -> list[dict[str, Any]]:
    """One mapping a check, in the order of the reports."""
    return [
        {
            "id": check.id,
            "title": check.title,
            "proves": check.proves,
            "suites": list(check.suites),
            "severity": check.severity,
            "required": check.required,
            "needs": list(check.needs),
            "writes": check.writes,
            "default": check.default,
            "alone": check.alone,
            "timeout_s": check.timeout,
        }
        for check in load().values()
    ]


def markdown() -> str:
    lines = [_HEAD]
    for suite in SUITES:
        found = [row for row in rows() if row["suites"][0] == suite]
        if not found:
            continue
        lines += [f"\n## {suite}\n", "| check | proves that | severity | needs |", "|---|---|---|---|"]
        for row in found:
            marks = [
                row["severity"],
                *(["required"] if row["required"] else []),
                *([] if row["writes"] else ["reads only"]),
                *([] if row["default"] else ["when asked for"]),
            ]
            needs = ", ".join(f"`{need}`" for need in row["needs"])
            lines.append(f"| `{row['id']}` {row['title']} | {row['proves']} | {', '.join(marks)} | {needs} |")
    return "\n".join(lines) + "\n"
