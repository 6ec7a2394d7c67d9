"""Prometheus metrics of a node's GPUs, under the names and labels of NVIDIA's DCGM exporter: by NVML alone.

    main.py --counters FILE [--port 9400] [--pod-resources SOCKET]

FILE has lines "FIELD, type, help", as DCGM's exporter reads them: one file decides what both publish. A GPU that a
container holds carries namespace, pod and container, as the kubelet's PodResources service tells them. With time
slicing several may: each then has a sample of its own. GPUs split by MIG are shown as a whole, as nobody's.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import figures  # type: ignore[import-not-found]  # beside this file
import podresources  # type: ignore[import-not-found]

_OWN = "arena_gpu_exporter"
_KINDS = ("gauge", "counter")
log = logging.getLogger(_OWN)


class Counter(NamedTuple):
    field: str
    kind: str
    help: str


class Holder(NamedTuple):
    """A container that holds a GPU."""

    namespace: str
    pod: str
    container: str


def read_counters(text: str) -> list[Counter]:
    """The lines of a counters file that are for us. Raises ValueError, with the line's number, for one that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) != 3 or parts[1] not in _KINDS:
            raise ValueError(f"line {number}: expected FIELD, gauge or counter, help; got {line.strip()!r}")
        if parts[0] in figures.FIELDS or parts[0] == figures.XID:
            found.append(Counter(*parts))
        else:
            log.info("NVML does not know %s: it is left out", parts[0])
    return found


def holders(rows: list[dict[str, Any]]) -> dict[str, list[Holder]]:
    """UUID of a GPU -> who holds it, of the rows that podresources gives."""
    found: dict[str, list[Holder]] = {}
    for row in rows:
        if str(row["resource"]).startswith("nvidia.com/gpu"):
            one = Holder(row["namespace"], row["pod"], row["container"])
            for id in row["ids"]:
                mine = found.setdefault(id.partition("::")[0], [])  # a share of a GPU is called UUID::N
                if one not in mine:
                    mine.append(one)
    return found


def page(counters: list[Counter], gpus: list[Any], held: dict[str, list[Holder]], seconds: float, pods_up: bool) -> str:
    """The text that Prometheus reads."""
    lines = []
    for counter in counters:
        samples = [
            f"{counter.field}{{{_labels(labels)}}} {_shown(gpu.values[counter.field])}"
            for gpu in gpus
            if counter.field in gpu.values
            for labels in _labelled(gpu, held)
        ]
        if samples:
            lines += [f"# HELP {counter.field} {counter.help}", f"# TYPE {counter.field} {counter.kind}", *samples]
    for name, help, value in (
        ("gpus", "GPUs that NVML answers for.", float(sum(not gpu.error for gpu in gpus))),
        ("pod_resources_up", "Whether the kubelet told who holds which GPU.", float(pods_up)),
        ("seconds", "How long it took to ask.", round(seconds, 6)),
    ):
        lines += [f"# HELP {_OWN}_{name} {help}", f"# TYPE {_OWN}_{name} gauge", f"{_OWN}_{name} {_shown(value)}"]
    return "\n".join(lines) + "\n"


def _labelled(gpu: Any, held: dict[str, list[Holder]]) -> list[dict[str, str]]:
    mine = held.get(gpu.uuid)
    return [{**gpu.labels, **one._asdict()} for one in mine] if mine else [gpu.labels]


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _shown(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class Exporter:
    """Thread-safe: one question at a time goes to the driver."""

    def __init__(self, counters: list[Counter], socket: str, hostname: str) -> None:
        self._counters, self._socket, self._hostname = counters, socket, hostname
        self._lock = threading.Lock()
        self._watch: Any = None
        self._silent = ""  # why the kubelet does not answer, said once

    def metrics(self) -> str:
        """Raises Exception (NVML's own, or no library at all) when the driver does not answer."""
        import pynvml  # type: ignore[import-untyped]

        began = time.monotonic()
        with self._lock:
            if self._watch is None:
                self._watch = figures.Watch(pynvml, self._hostname)
            gpus = self._watch.look([counter.field for counter in self._counters])
        held, up = self._held()
        return page(self._counters, gpus, held, time.monotonic() - began, up)

    def _held(self) -> tuple[dict[str, list[Holder]], bool]:
        try:
            found = holders(podresources.assignments(self._socket))
        except (OSError, podresources.CallError) as error:
            if str(error) != self._silent:
                log.warning("the kubelet does not tell who holds the GPUs: %s: %s", self._socket, error)
            self._silent = str(error)
            return {}, False
        self._silent = ""
        return found, True


def handler(exporter: Exporter) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/":
                return self._answer(200, "GPU metrics are at /metrics\n")
            if self.path not in ("/metrics", "/health"):
                return self._answer(404, "there are /metrics and /health\n")
            try:
                text = exporter.metrics()
            except Exception as error:  # whatever is wrong with the driver: the scrape fails, and says why
                log.error("the driver does not answer: %s: %s", type(error).__name__, error)
                return self._answer(503, f"the driver does not answer: {type(error).__name__}: {error}\n")
            return self._answer(200, text if self.path == "/metrics" else "ok\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are no news."""

    return Handler


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="gpu-exporter", description="Prometheus metrics of this node's GPUs")
    parser.add_argument("--counters", type=Path, required=True, help='lines "FIELD, type, help"')
    parser.add_argument("--port", type=int, default=9400)
    parser.add_argument("--pod-resources", default=podresources.SOCKET, help="the kubelet's socket")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        counters = read_counters(given.counters.read_text())
    except (OSError, ValueError) as error:
        log.error("%s: %s", given.counters, error)
        return 2
    hostname = os.environ.get("NODE_NAME") or os.uname().nodename
    exporter = Exporter(counters, given.pod_resources, hostname)
    try:
        exporter.metrics()  # XIDs are heard from here on
    except Exception as error:
        log.warning("the driver does not answer yet: %s: %s", type(error).__name__, error)
    server = ThreadingHTTPServer(("", given.port), handler(exporter))
    server.daemon_threads = True

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    log.info("%d fields of the GPUs of %s at port %d", len(counters), hostname, given.port)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
