"""Progress without a terminal is plain lines; with --json it is one object per line; both reach the run's log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena_install.cli.screen import Screen, span
from arena_install.events import Event, step


def play(screen: Screen) -> None:
    with step(screen.emit, "role/demo") as one:
        one.progress("first task")
        one.end("changed")
    with pytest.raises(ValueError), step(screen.emit, "component/flannel"):
        raise ValueError("pod flannel-x: ImagePullBackOff")


def test_plain_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Screen("plain", tmp_path / "events.jsonl") as screen:
        play(screen)
    lines = capsys.readouterr().out.splitlines()
    assert any("role/demo" in line and "changed" in line for line in lines)
    assert any("component/flannel" in line and "failed" in line and "ImagePullBackOff" in line for line in lines)
    kept = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in kept] == ["start", "progress", "end", "start", "end"]


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("json") as screen:
        play(screen)
        screen.say("not for machines")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[2]["outcome"] == "changed" and rows[-1]["outcome"] == "failed"


def test_terminal_draws_and_ends_clean(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("terminal") as screen:
        screen.emit(Event("start", "role/[demo]", "text with [brackets]"))
        play(screen)
    assert "demo" in capsys.readouterr().out


def test_span() -> None:
    assert (span(0.04), span(59.9), span(83)) == ("0.0s", "59.9s", "1m23s")
