"""Tests on a real API server (tests/apiserver_fixture.py): `pytest tests/apiserver`, two minutes, no root."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "unit" / "stack")]

from shelf import Shelf  # noqa: E402

from apiserver_fixture import ControlPlane, HollowNode, control_plane  # noqa: E402, F401
from arena_install.stack import ledger  # noqa: E402
from arena_install.stack.api import Api  # noqa: E402


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:  # noqa: F811
    """A cluster of one node, with nothing in the ledger afterwards."""
    with HollowNode(control_plane.kubeconfig, allocatable={"nvidia.com/gpu": "4"}):
        api = Api(control_plane.kubeconfig)
        yield api
        for name in ledger.read(api):
            ledger.write(api, name, None)
        api.close()
