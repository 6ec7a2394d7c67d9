"""What the check of the web pages makes of what its browser saw."""

from __future__ import annotations

from typing import Any

import pytest

from arena_install.verify.checks.dashboard import _login, _page

MINE = {"path": "/", "stranger": 401, "leaked": False, "status": 200, "there": True}
OTHERS = {"path": "/logs/other/x/text", "stranger": 401, "leaked": False, "status": 403, "there": False}


def test_pages_as_they_should_be() -> None:
    assert _page(MINE, mine=True) == _page(OTHERS, mine=False) == []
    assert _login({"login": {"status": 200, "cookie": True}}) == []


@pytest.mark.parametrize(
    ("row", "mine", "says"),
    [
        ({**MINE, "stranger": 200}, True, "/ without a login: 200, 401 is expected"),
        ({**MINE, "leaked": True}, True, "shows what is for its owner alone"),
        ({**MINE, "there": False}, True, "what was to be there is not"),
        ({**MINE, "status": 502, "there": False}, True, "with the login: 502"),
        ({**OTHERS, "status": 200, "there": True}, False, "another namespace's, with the login: 200"),
        ({**OTHERS, "status": 404}, False, "another namespace's, with the login: 404"),
        ({**OTHERS, "there": True}, False, "403 is expected"),
    ],
)
def test_each_difference_is_told(row: dict[str, Any], mine: bool, says: str) -> None:
    (problem,) = _page(row, mine=mine)
    assert says in problem


def test_a_login_that_fails_or_is_open_to_scripts() -> None:
    assert "401" in _login({"login": {"status": 401, "cookie": False}})[0]
    assert _login({"login": {"status": 200, "cookie": False}}) == [
        "the cookie of the login is open to scripts, or to plain HTTP"
    ]
