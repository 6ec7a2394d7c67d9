"""Verbs after `up` know the cluster's profile; what is written or asked for stands above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_install.pipeline.setting import Wishes, read_config


@pytest.mark.parametrize(
    ("kept", "written", "asked", "profile"),
    [
        (None, None, None, "minimal"),
        ("full", None, None, "full"),
        ("full", "minimal", None, "minimal"),
        ("full", None, "minimal", "minimal"),
        ("minimal", "full", None, "full"),
        ("garbage", None, None, "minimal"),
    ],
)
def test_which_profile(tmp_path: Path, kept: str | None, written: str | None, asked: str | None, profile: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if kept:
        (state / "profile").write_text(f"{kept}\n")
    config = tmp_path / "cluster.yaml"
    if written:
        config.write_text(f"profile: {written}\n")
    assert read_config(Wishes(None, config if written else None, asked), state).profile == profile
