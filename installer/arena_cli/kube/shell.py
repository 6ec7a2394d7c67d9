"""A command in a container, with this terminal as its own: Kubernetes' exec over a WebSocket."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from arena_cli.kube.client import Client, at
from arena_install.errors import StepError

_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE = range(5)
_TIMEOUT = 10  # seconds to connect


def run(client: Client, namespace: str, pod: str, container: str, command: Sequence[str]) -> int:
    """The command's exit status. Raises StepError where it can't be started."""
    import websocket

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    query = [("container", container), ("stdin", "true"), ("stdout", "true"), *(("command", word) for word in command)]
    query += [("tty", "true")] if terminal else [("stderr", "true")]
    server = client.access.server.replace("http", "ws", 1)
    headers = [f"Authorization: Bearer {client.access.token}"] if client.access.token else []
    options: dict[str, Any] = {"context": client.tls}
    if client.access.server_name:
        options["server_hostname"] = client.access.server_name
    try:
        socket = websocket.create_connection(
            f"{server}{at('v1', 'pods', namespace, pod, 'exec')}?{urlencode(query)}",
            subprotocols=["v5.channel.k8s.io", "v4.channel.k8s.io"],
            header=headers,
            sslopt=options,
            timeout=_TIMEOUT,
        )
    except (OSError, websocket.WebSocketException) as error:
        raise StepError(f"no command can be run in {pod}", why=str(error).splitlines()[0][:300]) from error
    socket.settimeout(None)
    with _raw() if terminal else contextlib.nullcontext():
        if terminal:
            _resize(socket)
            signal.signal(signal.SIGWINCH, lambda *_: _resize(socket))
        threading.Thread(target=_type, args=(socket,), daemon=True).start()
        try:
            return _read(socket)
        finally:
            socket.close()


def _type(socket: Any) -> None:
    """What is typed goes there; the end of a pipe ends the command's input, by closing the channel (v5)."""
    while data := os.read(sys.stdin.fileno(), 4096):
        socket.send_binary(bytes([_STDIN]) + data)
    with contextlib.suppress(Exception):
        socket.send_binary(bytes([255, _STDIN]))


def _read(socket: Any) -> int:
    import websocket

    while True:
        try:
            frame = socket.recv()
        except (OSError, websocket.WebSocketException):
            return 1
        data = frame.encode() if isinstance(frame, str) else frame
        if not data:
            return 0
        if data[0] == _STATUS:
            return status(data[1:])
        out = sys.stderr if data[0] == _STDERR else sys.stdout
        out.buffer.write(data[1:])
        out.buffer.flush()


def status(data: bytes) -> int:
    """The exit status that Kubernetes' last word tells."""
    found = json.loads(data or b"{}")
    if found.get("status") == "Success":
        return 0
    causes = (found.get("details") or {}).get("causes") or ()
    code = next((cause["message"] for cause in causes if cause.get("reason") == "ExitCode"), None)
    if code is None:
        raise StepError("the command could not be run", why=str(found.get("message", "")))
    return int(code)


def _resize(socket: Any) -> None:
    size = shutil.get_terminal_size()
    socket.send_binary(bytes([_RESIZE]) + json.dumps({"Width": size.columns, "Height": size.lines}).encode())


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
