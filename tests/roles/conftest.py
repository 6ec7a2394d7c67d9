"""Tests on container hosts (tests/lab_fixture.py): root and podman, minutes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_fixture import lab_hosts, lab_state  # noqa: F401
