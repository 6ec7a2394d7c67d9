"""One writer per cluster, and a killed one's children still count as it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from arena_install.apply.lockfile import exclusive
from arena_install.errors import TimedOutError
from arena_install.events import ignore


def test_second_writer_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "lock", ignore),
        pytest.raises(TimedOutError) as caught,
        exclusive(tmp_path / "lock", ignore, 0.3),
    ):
        pass
    assert "pid" in str(caught.value) and caught.value.exit_code == 5


def test_lock_lasts_as_long_as_an_inheriting_child(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", ignore) as held:
        child = subprocess.Popen(["sleep", "30"], pass_fds=(held,))
    try:
        with pytest.raises(TimedOutError), exclusive(tmp_path / "lock", ignore, 0.3):
            pass
    finally:
        child.kill()
        child.wait()
    with exclusive(tmp_path / "lock", ignore, 1):
        pass
