"""Each of upstream's commands and flags is here the same, better, or refused with a reason; the page says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from compatibility import PAGE, UPSTREAM, page, rows, theirs

ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command or "global")
def test_nothing_of_upstreams_is_lost_or_changed(row: Any) -> None:
    assert row.problems == []


def test_the_page_is_as_the_command_is() -> None:
    assert page() == PAGE.read_text(), (
        "write it anew: PYTHONPATH=installer python tests/unit/arena_cli/compatibility.py"
    )


@pytest.mark.parametrize("row", [row for row in ROWS if row.absent], ids=lambda row: row.command)
def test_an_absent_command_says_why(row: Any, arena: Callable[..., Any]) -> None:
    done = arena(*row.command.split(), "--name", "x", "-o", "wide")
    assert done.code == 2 and row.absent[0] in done.err and row.absent[1] in done.err


@pytest.mark.parametrize("row", [row for row in ROWS if row.refused and row.command], ids=lambda row: row.command)
def test_a_refused_flag_is_an_error(row: Any, arena: Callable[..., Any]) -> None:
    kinds = {flag.name: flag.type for flag in theirs(UPSTREAM["commands"][row.command]["sets"])}
    for name, reason in row.refused.items():
        done = arena(*row.command.split(), "--name", "x", f"--{name}" if kinds[name] == "Bool" else f"--{name}=1")
        assert done.code == 2 and reason in done.err, (name, done)
