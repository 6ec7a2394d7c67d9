"""Run a command in a pod, as `kubectl exec` does: a WebSocket whose messages begin with the number of a stream.

The generated client can do it too, but knows no deadline for connecting and mixes the streams. Protocol:
k8s.io/apimachinery/pkg/util/remotecommand (v4.channel.k8s.io).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from arena_install.errors import StepError, TimedOutError
from arena_install.verify.kube import ApiError, Kube, Object, namespaced

if TYPE_CHECKING:
    from websocket import WebSocket

_STDIN, _STDOUT, _STDERR, _STATUS = range(4)
_PROTOCOL = "v4.channel.k8s.io"


def execute(
    kube: Kube, namespace: str, pod: str, command: Sequence[str], *, stdin: str = "", seconds: float = 30
) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a command in the pod's only container.

    stdin is sent whole; there is no end of it in this protocol, so the command must know where to stop. Raises ApiError
    when the API or the kubelet refuses, TimedOutError after `seconds`, UnreachableError when nobody answers.
    """
    import websocket

    if kube.read_only:
        raise StepError(f"nothing was run in pod {pod}", why="this run is read-only")
    until = time.monotonic() + seconds
    what = f"{' '.join(command)[:60]} in pod {pod}"
    try:
        socket = _connect(kube, namespace, pod, command, bool(stdin), seconds)
        try:
            if stdin:
                socket.send_binary(bytes([_STDIN]) + stdin.encode())
            return _outcome(_read(socket, until), what)
        finally:
            socket.close(timeout=1)
    except websocket.WebSocketTimeoutException as error:
        raise TimedOutError(f"waited {seconds:.0f} s for {what}") from error
    except websocket.WebSocketBadStatusException as error:
        raise ApiError(f"the API refused to run {what}", error.status_code, _message(error.resp_body)) from error
    except (websocket.WebSocketException, OSError) as error:
        raise kube.unreachable(error) from error


def _connect(kube: Kube, namespace: str, pod: str, command: Sequence[str], stdin: bool, seconds: float) -> WebSocket:
    import ssl

    import websocket

    configuration: Any = kube.configuration
    query = [*(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    path = f"{namespaced('pods', namespace, pod)}/exec?{urlencode(query)}"
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert}
    if not configuration.verify_ssl:
        options = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    for key, value in (
        ("certfile", configuration.cert_file),
        ("keyfile", configuration.key_file),
        ("server_hostname", configuration.tls_server_name),
    ):
        if value:
            options[key] = value
    proxy = urlsplit(configuration.proxy) if configuration.proxy else None
    return websocket.create_connection(
        kube.server.rstrip("/").replace("http", "ws", 1) + path,
        timeout=seconds,
        sslopt={key: value for key, value in options.items() if value is not None},
        header=[f"{key}: {value}" for key, value in kube.credentials().items()],
        subprotocols=[_PROTOCOL],
        http_proxy_host=proxy.hostname if proxy else None,
        http_proxy_port=proxy.port if proxy else None,
        http_no_proxy=None if proxy else ["*"],  # else it would take the environment's
    )


def _read(socket: WebSocket, until: float) -> dict[int, bytes]:
    """What came on each stream until the other side closed."""
    from websocket import ABNF, WebSocketTimeoutException

    streams: dict[int, bytes] = {}
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise WebSocketTimeoutException
        socket.settimeout(left)
        kind, content = socket.recv_data()
        if kind == ABNF.OPCODE_CLOSE:
            return streams
        data = content if isinstance(content, bytes) else content.encode()
        if data:
            streams[data[0]] = streams.get(data[0], b"") + data[1:]


def _outcome(streams: dict[int, bytes], what: str) -> tuple[int, str, str]:
    out, err = (streams.get(stream, b"").decode("utf-8", "replace") for stream in (_STDOUT, _STDERR))
    status: Object = json.loads(streams.get(_STATUS) or b"{}")
    if status.get("status") == "Success":
        return 0, out, err
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"]), out, err
    raise ApiError(f"{what} did not run", 500, str(status.get("message") or err or "the connection was cut"))


def _message(body: bytes | str | None) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        return str(json.loads(text).get("message") or "")
    except (ValueError, AttributeError):
        return text.strip()[:300]
