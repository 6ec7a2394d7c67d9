"""Tests on a real API server (tests/apiserver_fixture.py): `pytest tests/apiserver`, two minutes, no root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "unit" / "stack")]

from shelf import Shelf  # noqa: E402

from apiserver_fixture import control_plane  # noqa: E402, F401


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)
