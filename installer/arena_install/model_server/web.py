"""The REST half: HTTP around the models.

What answers (a version's `loaded`) has inputs(signature) -> names, run(signature, inputs) -> outputs as nested lists,
and metadata() -> a JSON object; each raises Refusal.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import rest  # type: ignore[import-not-found]  # beside this file
from refusal import Refusal  # type: ignore[import-not-found]
from versions import Model, unknown  # type: ignore[import-not-found]

log = logging.getLogger("arena-serving")
SERVER = "arena-serving/1.0"


def reply(models: Mapping[str, Model], method: str, path: str, body: bytes) -> dict[str, Any]:
    """Raises Refusal."""
    call = rest.route(method, path)
    model = models.get(call.model)
    if call.kind == "status":
        if model is None:
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {call.model}")
        return {"model_version_status": model.status(call.version)}
    if model is None:
        raise unknown(call.model, call.version)
    number, loaded = model.get(call.version)
    if call.kind == "metadata":
        spec = {"name": call.model, "signature_name": "", "version": str(number)}
        return {"model_spec": spec, "metadata": loaded.metadata()}
    request = rest.document(body)
    asked = rest.question(request, loaded.inputs(rest.signature_of(request)))
    return dict(rest.answer(loaded.run(asked.signature, asked.inputs), by_row=asked.by_row))


class Server(ThreadingHTTPServer):
    """Of a request that has begun the answer is sent, also while the server ends: see `drain`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, models: Mapping[str, Model]) -> None:
        self.models = models
        self.draining = False
        self.connections = 0
        self._count = threading.Lock()
        super().__init__(("", port), Handler)

    def counted(self, step: int) -> None:
        with self._count:
            self.connections += step

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are gone are no news."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            log.exception("a connection broke")

    def drain(self, least: float, most: float) -> None:
        """Go on answering, but ask each client to connect anew, which it then does elsewhere; until none is connected,
        for `least` seconds at least and `most` at most."""
        self.draining = True
        began = time.monotonic()
        while time.monotonic() < began + (most if self.connections else least):
            time.sleep(0.05)
        self.shutdown()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body of an answer are two writes
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.counted(1)

    def finish(self) -> None:
        self.server.counted(-1)
        super().finish()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self.close_connection = True
            self._say(411, {"error": "the request has no Content-Length"})
            return
        self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        try:
            self._say(200, reply(self.server.models, self.command, self.path.partition("?")[0], body))
        except Refusal as error:
            self._say(error.status, {"error": error.message})
        except (ConnectionError, TimeoutError):
            raise  # the client is gone
        except Exception as error:
            log.exception("%s %s", self.command, self.path)
            self._say(500, {"error": f"{type(error).__name__}: {error}"})

    def _say(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.server.draining:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return SERVER

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""
