"""Child processes that don't outlive us, even after `kill -9`: compilers and package managers run for minutes.

A small guard runs between us and the child, in a process group of its own. It holds the reading end of a pipe that we
hold open; when the pipe closes, for whatever reason, it ends the whole group.
"""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arena_install.errors import StepError, TimedOutError

_GUARD = """
import os, signal, subprocess, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
except OSError as error:
    print(f"{sys.argv[1]}: {error.strerror}", file=sys.stderr)
    os._exit(127)
def watch():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(2)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
code = child.wait()
os._exit(code if code >= 0 else 128 - code)
"""

_running: set[subprocess.Popen[Any]] = set()
_lock = threading.Lock()
_SECRET = re.compile(r"(://[^/\s:@]+):[^/\s@]+@")


def run(
    argv: Sequence[str],
    *,
    what: str,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout: float = 3600,
    fix: str = "",
) -> str:
    """Run to the end, output to the log file; returns stdout and stderr, as text.

    what: "compile kubelet", for the error. on_line gets each line of output, from another thread. timeout: seconds.
    Raises StepError with the last lines, or TimedOutError.
    """
    last: collections.deque[str] = collections.deque(maxlen=12)
    lines: list[str] = []
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _stop(process)

    with log.open("ab") as file:
        shown = _SECRET.sub(r"\1:***@", " ".join(argv))
        file.write(f"$ {shown}\n".encode())
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, *argv],
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _lock:
            _running.add(process)
        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for raw in process.stdout:
                file.write(raw)
                line = raw.decode(errors="replace").rstrip()
                lines.append(line)
                if line.strip():
                    last.append(line)
                if on_line:
                    on_line(line)
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            timer.cancel()
            with _lock:
                _running.discard(process)
            if process.stdin:
                process.stdin.close()
    if expired.is_set():
        raise TimedOutError(f"could not {what} within {timeout:.0f} s", where=str(log), why="\n".join(last))
    if code:
        raise StepError(
            f"could not {what} ({Path(argv[0]).name} ended with {code})", where=str(log), why="\n".join(last), fix=fix
        )
    return "\n".join(lines)


@contextmanager
def stoppable(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Let stop_all end a child that somebody else started, with its process group, while the block runs."""
    with _lock:
        _running.add(process)
    try:
        yield
    finally:
        with _lock:
            _running.discard(process)


def stop_all() -> None:
    """End every child that any thread is waiting for."""
    with _lock:
        running = list(_running)
    for process in running:
        _stop(process)


def _stop(process: subprocess.Popen[Any]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
