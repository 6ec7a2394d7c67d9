"""Commands in pods, against a server that speaks just enough of WebSocket to answer as the API does."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from arena_install.errors import StepError, TimedOutError, UnreachableError
from arena_install.verify.kube import ApiError, Kube
from arena_install.verify.streams import execute

Talk = Callable[[socket.socket], None]
SUCCESS = {"status": "Success"}


def frame(stream: int, content: bytes | dict[str, object]) -> bytes:
    data = bytes([stream]) + (content if isinstance(content, bytes) else json.dumps(content).encode())
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
    return b"\x82" + size + data


CLOSE = b"\x88\x02\x03\xe8"


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Callable[[Talk], tuple[Kube, list[str]]]]:
    """pod(talk): a Kube whose API takes one WebSocket and lets `talk` answer; with the request's lines as they came."""
    listeners: list[socket.socket] = []

    def serve(talk: Talk) -> tuple[Kube, list[str]]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        heard: list[str] = []

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096)
                heard.extend(head.decode().splitlines())
                key = next(line.split(": ")[1] for line in heard if line.lower().startswith("sec-websocket-key"))
                digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
                    b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
                )
                talk(connection)

        threading.Thread(target=run, daemon=True).start()
        return Kube(kubeconfig(tmp_path, listener.getsockname()[1])), heard

    yield serve
    for listener in listeners:
        listener.close()


def kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "of-a-user"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_streams_are_told_apart(pod: Callable[[Talk], tuple[Kube, list[str]]]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(
            frame(1, b"one ") + frame(2, b"warning") + frame(1, "zwölf".encode()) + frame(3, SUCCESS) + CLOSE
        )

    kube, heard = pod(talk)
    assert execute(kube, "n", "p", ["echo", "a b"]) == (0, "one zwölf", "warning")
    assert heard[0].startswith("GET /api/v1/namespaces/n/pods/p/exec?command=echo&command=a+b&stdout=true")
    assert "authorization: Bearer of-a-user" in heard


def test_the_exit_status_comes_through(pod: Callable[[Talk], tuple[Kube, list[str]]]) -> None:
    failure = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}
    kube, _ = pod(lambda connection: connection.sendall(frame(3, failure) + CLOSE))
    assert execute(kube, "n", "p", ["false"])[0] == 3


def test_a_command_that_cannot_start_is_an_error(pod: Callable[[Talk], tuple[Kube, list[str]]]) -> None:
    failure = {"status": "Failure", "message": "no such file"}
    kube, _ = pod(lambda connection: connection.sendall(frame(3, failure) + CLOSE))
    with pytest.raises(ApiError, match="did not run") as caught:
        execute(kube, "n", "p", ["nosuch"])
    assert caught.value.why == "no such file"


def test_standard_input_is_sent(pod: Callable[[Talk], tuple[Kube, list[str]]]) -> None:
    def talk(connection: socket.socket) -> None:
        data = connection.recv(4096)
        mask, content = data[2:6], data[6 : 6 + (data[1] & 0x7F)]
        plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))
        connection.sendall(frame(1, plain) + frame(3, SUCCESS) + CLOSE)

    kube, heard = pod(talk)
    assert execute(kube, "n", "p", ["cat"], stdin="line\n") == (0, "\x00line\n", "")
    assert "stdin=true" in heard[0]


def test_silence_has_an_end(pod: Callable[[Talk], tuple[Kube, list[str]]]) -> None:
    kube, _ = pod(lambda connection: connection.recv(4096) and None)
    with pytest.raises(TimedOutError, match=r"waited 1 s for sleep 9 in pod p"):
        execute(kube, "n", "p", ["sleep", "9"], seconds=1)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    kube = Kube(kubeconfig(tmp_path, port))
    with pytest.raises(UnreachableError):
        execute(kube, "n", "p", ["true"], seconds=2)
    with pytest.raises(StepError, match="nothing was run"):
        execute(Kube(kubeconfig(tmp_path, port), read_only=True), "n", "p", ["true"])
