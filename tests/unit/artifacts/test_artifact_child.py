from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arena_install.artifacts import child
from arena_install.errors import StepError, TimedOutError


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: object, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_output_is_logged_and_returned(tmp_path: Path) -> None:
    lines: list[str] = []
    text = child.run(["sh", "-c", "echo one; echo two >&2"], what="talk", log=tmp_path / "log", on_line=lines.append)
    assert sorted(lines) == ["one", "two"] == sorted(text.splitlines())
    assert (tmp_path / "log").read_text().startswith("$ sh -c echo one")


def test_a_failure_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        child.run(["sh", "-c", "seq 100; exit 3"], what="count", log=tmp_path / "log", fix="count less")
    assert caught.value.what == "could not count (sh ended with 3)"
    assert caught.value.why.splitlines()[-1] == "100"
    assert len(caught.value.why.splitlines()) == 12
    assert caught.value.where == str(tmp_path / "log")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"nonesuch: No such file or directory"):
        child.run(["nonesuch"], what="run it", log=tmp_path / "log")


def test_passwords_are_not_logged(tmp_path: Path) -> None:
    child.run(["true", "http://me:secret@proxy:1"], what="x", log=tmp_path / "log")
    assert "secret" not in (tmp_path / "log").read_text()


def test_time_runs_out(tmp_path: Path) -> None:
    with pytest.raises(TimedOutError):
        child.run(["sleep", "60"], what="sleep", log=tmp_path / "log", timeout=0.2)


def test_stopping_ends_grandchildren_too(tmp_path: Path) -> None:
    pids: list[int] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            child.run(
                ["sh", "-c", "sleep 60 & echo $!; wait"], what="wait", log=tmp_path / "log",
                on_line=lambda line: pids.append(int(line)),
            )  # fmt: skip
        except StepError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert wait_for(lambda: pids)
    child.stop_all()
    thread.join(5)
    assert not thread.is_alive() and errors
    assert wait_for(lambda: not alive(pids[0]))


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from arena_install.artifacts import child\n"
        "child.run(['sh', '-c', 'sleep 60 & echo $!; echo $$; wait'], what='x', log=Path(sys.argv[1]),\n"
        "          on_line=lambda line: print(line, flush=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(map(alive, pids))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: not any(map(alive, pids)))
