"""-w and -r: the same look again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PAUSE = 2.0  # seconds


def again(look: Callable[[], str], *, ruler: bool = False) -> None:
    """Print whenever it differs from before, until interrupted. ruler: every time, under a line with the time."""
    before = None
    try:
        while True:
            text = look()
            if ruler:
                print(f"------------------------------------------- {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
            if ruler or text != before:
                if before is not None and not ruler and sys.stdout.isatty():
                    sys.stdout.write("\033[H\033[J")
                print(text, end="", flush=True)
            before = text
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        return
