from __future__ import annotations

import sys
from pathlib import Path

ARENA = Path(__file__).resolve().parents[1] / "arena_cli"
sys.path[:0] = [str(ARENA), str(ARENA / "look")]
