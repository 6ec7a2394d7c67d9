"""Tests on container hosts (tests/lab_fixture.py): root and podman, minutes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import arena_user
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_fixture import lab_hosts, lab_state  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-guides", action="store_true", help="write what commands print into docs/guides")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("ARENA_TEST_LAB") == "required":
            pytest.fail("there is no chromium: ./setup.sh test")
        pytest.skip("there is no chromium: ./setup.sh test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def site() -> Iterator[arena_user.Site]:
    """The cluster of profile full that arena's jobs and guides run in: one for all of them."""
    with arena_user.site() as found:
        yield found
