"""Asking one host, over a channel that is already open: become root, send the script, collect the answer.

Everything goes through one command. It becomes root first (sudo asks for the password by a marked prompt and gets it
on its stdin, never before it asked, never twice), says "@ready NONCE time", and only then is sent the script.
"""

# gevent and pyinfra carry no types.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any, Protocol

import gevent
from gevent import subprocess

_LIMIT = 16 << 20  # bytes of an answer; more is not a probe's


class Failure(Exception):
    """A host that can't be looked at: kind as in probe/facts.py, detail what was seen."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, " ".join(detail.split())


class Channel(Protocol):
    """A running command: reads give b"" at the end."""

    def read(self) -> bytes: ...
    def read_error(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close_input(self) -> None: ...
    def wait(self) -> int: ...
    def close(self) -> None: ...


def command(route: dict[str, Any], nonce: str) -> str:
    """One line for the login shell, whichever it is: no newline, no `!`, single quotes only."""
    run = f"echo @ready {nonce} $(date +%s.%N); exec sh"
    ask = f"-k -S -p @password-{nonce}@" if route["sudo_password"] else "-n"
    start = f'exec sh -c "{run.replace("$", chr(92) + "$")}"'
    if route["become"]:
        become = f"LC_ALL=C {route['sudo']} {ask} {start.removeprefix('exec ')}"
        start = f'if test "$(id -u)" = 0; then {start}; else {become}; fi'
    return f"sh -c '{start}'"


def exchange(channel: Channel, route: dict[str, Any], script: str, nonce: str, started: float) -> dict[str, Any]:
    """Get ready, send the script, collect the answer. Raises Failure."""
    errors = bytearray()
    prompts = 0

    def read_errors() -> None:
        nonlocal prompts, started
        marker = f"@password-{nonce}@".encode()
        for chunk in iter(channel.read_error, b""):
            errors.extend(chunk[: 1 << 16])
            while errors.count(marker) > prompts:
                prompts += 1
                if prompts == 1:
                    started = time.time()
                    channel.write(route["sudo_password"].encode() + b"\n")
                else:
                    channel.close_input()  # asked again: it was wrong, and guessing on would lock the account

    reader = gevent.spawn(read_errors)
    answer, ready, clock = bytearray(), b"", []
    sign = f"@ready {nonce} ".encode()
    try:
        for chunk in iter(channel.read, b""):
            now = time.time()
            answer.extend(chunk)
            if not ready and (at := answer.find(sign)) >= 0 and (end := answer.find(b"\n", at)) >= 0:
                ready = bytes(answer[at + len(sign) : end])
                clock.append([ready.decode(errors="replace"), started, now])
                del answer[: end + 1]
                sent = time.time()
                channel.write(script.encode())
                channel.close_input()
            elif len(clock) == 1 and (match := re.search(rb"@begin \S+ (\S+)\n", answer)):
                clock.append([match[1].decode(errors="replace"), sent, now])
            if len(answer) > _LIMIT:
                raise Failure("truncated", f"more than {_LIMIT >> 20} MiB")
        status = channel.wait()
        reader.join(1)
    finally:
        reader.kill()
    said = errors.decode(errors="replace").replace(f"@password-{nonce}@", "")
    if not ready:
        raise not_ready(said, answer.decode(errors="replace"), status, prompts)
    text = answer.decode(errors="replace")
    if f"@end {nonce}" not in text:
        raise Failure("truncated", said[-300:] or f"{len(text)} characters, exit status {status}")
    return {"output": text, "clock": clock}


def not_ready(said: str, answer: str, status: int, prompts: int) -> Failure:
    """Which failure it is that sh, or sudo, never got as far as saying @ready."""
    text = (said + "\n" + answer).strip()[-400:]
    if re.search(
        r"not in the sudoers|may not run sudo|not allowed to|must have a tty|account validation|I'm sorry", text
    ):
        return Failure("sudo_denied", text)
    if prompts > 1:
        return Failure("sudo_password_wrong")
    if re.search(r"password is required|authentication is required|terminal is required|no askpass", text):
        return Failure("sudo_password_needed", text if prompts else "")
    if re.search(r"sudo\S*: (?:command )?not found|sudo: No such file", text):
        return Failure("sudo_missing")
    if re.search(r"^sudo\b", text, re.MULTILINE):
        return Failure("sudo_denied", text)
    return Failure("no_shell", text or f"exit status {status}")


class SshChannel:
    """A command on an open connection."""

    def __init__(self, transport: Any, line: str, timeout: float) -> None:
        self._channel = transport.open_session(timeout=timeout)
        self._channel.exec_command(line)

    def read(self) -> bytes:
        chunk: bytes = self._channel.recv(1 << 16)
        return chunk

    def read_error(self) -> bytes:
        chunk: bytes = self._channel.recv_stderr(1 << 16)
        return chunk

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it hung up: what it said before tells why
            self._channel.sendall(data)

    def close_input(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def wait(self) -> int:
        return int(self._channel.recv_exit_status())

    def close(self) -> None:
        self._channel.close()


class LocalChannel:
    """The same on this machine."""

    def __init__(self, line: str) -> None:
        pipe = subprocess.PIPE
        self._process: Any = subprocess.Popen(
            ["/bin/sh", "-c", line], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )

    def read(self) -> bytes:
        chunk: bytes = self._process.stdout.read(1 << 16) or b""
        return chunk

    def read_error(self) -> bytes:
        chunk: bytes = self._process.stderr.read(1 << 16) or b""
        return chunk

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view:
                view = view[self._process.stdin.write(view) :]

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> int:
        return int(self._process.wait())

    def close(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, 15)
            self._process.wait()
