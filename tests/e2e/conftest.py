"""Tests on container hosts (tests/lab_fixture.py): root and podman, minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import arena_user
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_fixture import lab_hosts, lab_state  # noqa: F401


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-guides", action="store_true", help="write what commands print into docs/guides")


@pytest.fixture(scope="session")
def site() -> Iterator[arena_user.Site]:
    """The cluster of profile full that arena's jobs and guides run in: one for all of them."""
    with arena_user.site() as found:
        yield found
