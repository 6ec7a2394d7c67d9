"""`make faults`: every fault, one after the other, in one lab: the one that ARENA_FAULTS_LAB names, or a new one.

--fresh repeats what an earlier run has seen with the same code; --thorough runs every check under every fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from lab_fixture import require_lab
from rehearsal import Rehearsal


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fresh", action="store_true", help="also what was seen with this code already")
    parser.addoption("--thorough", action="store_true", help="all checks under every fault, the slow ones too")


@pytest.fixture(scope="session")
def rehearsal(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """In a lab where nothing is broken, and nothing stays broken."""
    name = os.environ.get("ARENA_FAULTS_LAB", "")
    mine = not name
    if mine:
        require_lab()
        name = f"t-flt-{uuid.uuid4().hex[:4]}"
    it = Rehearsal(name, thorough=request.config.getoption("--thorough"))
    try:
        if mine:
            made = _arena("up", "--name", name, "--profile", "full", "--verify", "none")
            assert made.returncode == 0, made.stdout[-6000:] + made.stderr[-2000:]
        it.mend_all()
        yield it
    finally:
        try:
            it.mend_all()
        finally:
            if mine:
                _arena("lab", "down", name, "--yes")


def _arena(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "arena_install", *arguments], capture_output=True, text=True, check=False
    )
