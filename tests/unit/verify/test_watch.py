"""A watch hears everything, takes up again where it was cut off, and says when something may be missing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_kube import kubeconfig

from arena_install.verify.kube import ApiError, Kube
from arena_install.verify.watch import Watch, watching

PODS = "/api/v1/namespaces/n/pods"


def pod(name: str, version: int, phase: str = "Pending") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "status": {"phase": phase}}


def change(kind: str, name: str, version: int, phase: str = "Pending") -> dict[str, Any]:
    return {"type": kind, "object": pod(name, version, phase)}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[Kube, list[list[dict[str, Any]]], list[str]]]:
    """(Kube, what each watch request is sent before it is cut off, the queries of those requests)."""
    answers: list[list[dict[str, Any]]] = []
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path != PODS:
                self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            if "watch=true" not in query:
                body = {"metadata": {"resourceVersion": "5"}, "items": [pod("old", 3)]}
                self.wfile.write(json.dumps(body).encode())
                return
            heard.append(query)
            for row in answers.pop(0) if answers else []:
                self.wfile.write(json.dumps(row).encode() + b"\n")

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Kube(kubeconfig(tmp_path, server.server_port)), answers, heard
    server.shutdown()
    server.server_close()


def until(seen: Watch, true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, [(row.type, row.name) for row in seen.changes]
        time.sleep(0.01)


def test_what_was_there_comes_first_and_a_cut_loses_nothing(api: Any) -> None:
    kube, answers, heard = api
    answers += [
        [change("ADDED", "a", 6), change("BOOKMARK", "", 7)],
        [change("MODIFIED", "a", 8, "Running"), change("DELETED", "a", 9)],
    ]
    with watching(kube, PODS, labelSelector="x=y") as seen:
        until(seen, lambda: len(seen.changes) == 4)
    assert [(row.type, row.name) for row in seen.changes] == [
        ("ADDED", "old"),
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    assert [state["status"]["phase"] for state in seen.named("a")] == ["Pending", "Running", "Pending"]
    assert "resourceVersion=5" in heard[0] and "resourceVersion=7" in heard[1]
    assert all("labelSelector=x%3Dy" in query for query in heard)
    assert not seen.broken


def test_history_that_the_server_has_forgotten_is_said(api: Any) -> None:
    kube, answers, _ = api
    answers.append([{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}])
    with watching(kube, PODS) as seen:
        until(seen, lambda: bool(seen.broken))
    assert seen.broken == "too old resource version"


def test_a_list_that_may_not_be_read_is_refused_at_once(api: Any) -> None:
    kube, _, _ = api
    with pytest.raises(ApiError), watching(kube, "/api/v1/secrets"):
        raise AssertionError
