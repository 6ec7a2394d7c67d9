"""Draws events. On a terminal: finished steps scroll up, running ones stay below with their time and what they wait
for. Without one: plain lines. With --json: one JSON object per line. All of it also goes to the run's events.jsonl.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import IO, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from arena_install.events import Event

Mode = Literal["terminal", "plain", "json"]

_MARKS = {"ok": ("✓", "green"), "changed": ("●", "yellow"), "failed": ("✗", "bold red"), "skipped": ("–", "dim")}
_GROUPS = {
    "lab": "lab",
    "artifacts": "artifact",
    "probe": "look",
    "role": "host",
    "component": "stack",
    "verify": "verify",
}
_SHOWN = 14  # running steps drawn at once
_QUICK = 0.05  # seconds: a step that changed nothing and took less is not worth a line


def choose_mode(as_json: bool) -> Mode:
    if as_json:
        return "json"
    return "terminal" if sys.stdout.isatty() else "plain"


def span(seconds: float) -> str:
    """12.3 -> "12.3s", 83 -> "1m23s"."""
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


class Screen:
    """`with Screen(mode, log) as screen: work(screen.emit)`; emit may be called from any thread."""

    def __init__(self, mode: Mode, log: Path | None = None, *, verbose: bool = False) -> None:
        self.mode, self.verbose = mode, verbose
        self.console = Console(highlight=False)
        self._log: IO[str] | None = log.open("a") if log else None
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self.mode == "terminal":
            self._live = Live(console=self.console, refresh_per_second=8, transient=True, get_renderable=self._draw)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        if self._log:
            self._log.close()
            self._log = None

    def emit(self, event: Event) -> None:
        with self._lock:
            line = json.dumps(event.as_dict(), default=str)
            if self._log:
                self._log.write(line + "\n")
                self._log.flush()
            if self.mode == "json":
                print(line, flush=True)
                return
            if event.kind in ("start", "progress", "waiting"):
                began, text = self._running.get(event.step, (time.monotonic(), ""))
                known = event.step in self._running
                self._running[event.step] = (began, event.text or text)
                if self.mode == "plain" and (not known or (self.verbose and event.text)):
                    self._plain(event, event.text)
            elif event.kind == "end":
                self._end(event)
            elif event.kind == "warning" or self.verbose:
                self._print(Text.assemble(("  ! " if event.kind == "warning" else "    ", "yellow"), event.text))

    def say(self, text: str | Text | Table = "") -> None:
        """A line of the verb's own, below the progress."""
        if self.mode != "json":
            self._print(text)

    def _end(self, event: Event) -> None:
        began, _ = self._running.pop(event.step, (time.monotonic(), ""))
        seconds = float(event.data.get("seconds", time.monotonic() - began))
        if event.outcome in ("ok", "skipped") and seconds < _QUICK and not self.verbose and not event.text:
            return
        mark, style = _MARKS[event.outcome or "ok"]
        group, _, name = event.step.partition("/")
        if self.mode == "plain":
            self._plain(event, f"{event.outcome} {span(seconds)} {event.text}".rstrip())
            return
        line = Text.assemble(
            (f" {mark} ", style),
            (f"{_GROUPS.get(group, group):<9}", "dim"),
            (f"{name or group:<34}", "bold" if event.outcome == "failed" else ""),
            (f"{span(seconds):>8}  ", "cyan"),
            (event.text, "dim" if event.outcome != "failed" else "red"),
        )
        self.console.print(line, no_wrap=True, overflow="ellipsis", crop=True)

    def _plain(self, event: Event, text: str) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(event.time))
        print(f"{clock} {event.step:<40} {text or event.kind}".rstrip(), flush=True)

    def _print(self, what: str | Text | Table) -> None:
        if self.mode == "plain" and isinstance(what, (str, Text)):
            print(str(what), flush=True)
        else:
            self.console.print(what)

    def _draw(self) -> Group:
        rows = list(self._running.items())
        lines: list[Table | Text] = []
        for step, (began, text) in rows[:_SHOWN]:
            group, _, name = step.partition("/")
            row = Table.grid(padding=(0, 1))
            row.add_column(width=1)
            row.add_column(width=8)
            row.add_column(width=33, no_wrap=True, overflow="ellipsis")
            row.add_column(width=8, justify="right")
            row.add_column(no_wrap=True, overflow="ellipsis")
            row.add_row(
                Spinner("dots", style="cyan"),
                Text(_GROUPS.get(group, group), "dim"),
                name or group,
                Text(span(time.monotonic() - began), "cyan"),
                Text(text, "dim"),
            )
            lines.append(row)
        if len(rows) > _SHOWN:
            lines.append(Text(f"   … and {len(rows) - _SHOWN} more", "dim"))
        return Group(*lines)
