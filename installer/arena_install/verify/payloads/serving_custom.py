"""A server of one's own, as anybody may write it, and its client: which digit is it that image N of the digits shows?

`serving_custom.py serve PORT` answers; `serving_custom.py ask ADDRESS PORT COUNT` asks, and compares with its own copy.
Alone in its pod: it needs nothing beside it.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENOUGH = 10  # failures after which the client gives up
LABELS = Path("/opt/mnist/labels.u8")


def serve(port: int) -> None:
    labels = LABELS.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path[1:] or 0)
            body = json.dumps({"image": number, "digit": labels[number]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are no news."""

    ThreadingHTTPServer(("", port), Handler).serve_forever()


def ask(address: str, port: int, count: int) -> None:
    """Over a connection of its own each."""
    labels = LABELS.read_bytes()
    times, wrong, errors = [], 0, []
    for number in range(count):
        began = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(address, port, timeout=10)
            connection.request("GET", f"/{number}")
            found = json.loads(connection.getresponse().read())
            connection.close()
        except Exception as error:
            errors.append(f"after {number} requests: {type(error).__name__}: {error}")
            if len(errors) >= ENOUGH:
                break
            continue
        times.append((time.perf_counter() - began) * 1000)
        wrong += found != {"image": number, "digit": labels[number]}
    times.sort()
    at = {f"p{share}_ms": round(times[-(-len(times) * share // 100) - 1], 2) if times else 0.0 for share in (50, 95)}
    told = {"requests": len(times) + len(errors), "failed": len(errors), "errors": errors[:5], "wrong": wrong, **at}
    print("ARENA-VERIFY " + json.dumps({"kind": "served", "way": "http", **told}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
