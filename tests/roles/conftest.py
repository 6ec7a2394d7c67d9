"""Tests on container hosts (tests/lab_fixture.py): root and podman, minutes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_fixture import lab_hosts, lab_state  # noqa: F401

# What `molecule verify` runs, on hosts that only molecule knows.
collect_ignore = [] if "MOLECULE_FILE" in os.environ else ["molecule"]
