"""`arena attach` against a container on loopback that speaks Kubernetes' exec over a WebSocket."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from arena_cli.kube import shell
from arena_cli.kube.client import Client
from arena_cli.kube.config import Access
from arena_install.errors import StepError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Container:
    """Takes one command: sends `output`, gathers what is typed until its end, then says how the command ended."""

    def __init__(self, output: bytes, last: dict[str, Any], status: int = 101) -> None:
        self.output, self.last, self.status = output, last, status
        self.typed, self.asked, self.headers = b"", "", ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as connection, connection.makefile("rb") as file:
            self.asked = file.readline().decode().split()[1]
            lines = iter(lambda: file.readline().strip(), b"")
            headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(b":") for line in lines)}
            self.headers = str(headers)
            if self.status != 101:
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + _GUID).digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            connection.sendall(_frame(b"\x01" + self.output) + _frame(b"\x02warning\n"))
            while (data := _read(file)) and data != bytes([255, 0]):
                self.typed += data[1:]
            connection.sendall(_frame(b"\x03" + json.dumps(self.last).encode()))


def _frame(data: bytes) -> bytes:
    length = bytes([len(data)]) if len(data) < 126 else bytes([126]) + struct.pack(">H", len(data))
    return b"\x82" + length + data


def _read(file: Any) -> bytes:
    head = file.read(2)
    length = head[1] & 127
    if length == 126:
        (length,) = struct.unpack(">H", file.read(2))
    mask = file.read(4)
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(file.read(length)))


def attach(container: Container, typed: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    (tmp_path / "typed").write_bytes(typed)
    with (tmp_path / "typed").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        client = Client(Access(f"http://127.0.0.1:{container.port}", token="s3cret"))
        code = shell.run(client, "team", "train-master-0", "pytorch", ["sh", "-c", "echo 'a b'"])
    container.thread.join(10)
    return code


def test_both_ways_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    failed = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}
    container = Container(b"x" * 300, failed)
    assert attach(container, b"ls\nexit 3\n", monkeypatch, tmp_path) == 3
    assert container.typed == b"ls\nexit 3\n"
    out, err = capfdbinary.readouterr()
    assert (out, err) == (b"x" * 300, b"warning\n")
    url = urlsplit(container.asked)
    assert url.path == "/api/v1/namespaces/team/pods/train-master-0/exec"
    query = parse_qs(url.query)
    assert query["command"] == ["sh", "-c", "echo 'a b'"] and query["container"] == ["pytorch"] and "tty" not in query
    assert "s3cret" in container.headers and "s3cret" not in container.asked


def test_who_may_not_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no command can be run in train-master-0"):
        attach(Container(b"", {}, status=403), b"", monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"status": "Success"}, 0),
        ({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}}, 137),
    ],
)
def test_exit_statuses(said: dict[str, Any], code: int) -> None:
    assert shell.status(json.dumps(said).encode()) == code


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(StepError, match="could not be run"):
        shell.status(b'{"status": "Failure", "message": "exec: no such file"}')
