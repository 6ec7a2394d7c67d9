"""The REST half over HTTP, with a model that needs no TensorFlow."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import web
from refusal import invalid
from versions import Model


class Doubler:
    slow = threading.Event()
    release = threading.Event()

    def inputs(self, signature: str) -> set[str]:
        if signature != "serving_default":
            raise invalid(f'Serving signature name: "{signature}" not found in signature def')
        return {"x"}

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if inputs["x"] == ["wait"]:
            self.slow.set()
            assert self.release.wait(10)
            return {"y": ["waited"]}
        return {"y": [2 * one for one in inputs["x"]]}

    def metadata(self) -> dict[str, Any]:
        return {"signature_def": {}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[web.Server]:
    (tmp_path / "7").mkdir()
    model = Model("double", tmp_path, lambda folder: Doubler())
    model.poll()
    made = web.Server(0, {"double": model})
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def client(server: web.Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
    client.request(method, path, json.dumps(body) if body is not None else None)
    answer = client.getresponse()
    return answer.status, json.loads(answer.read()), answer


def test_a_connection_is_kept_and_answers(client: http.client.HTTPConnection) -> None:
    status, found, answer = ask(client, "POST", "/v1/models/double:predict", {"instances": [1, 2.5]})
    assert (status, found) == (200, {"predictions": [2, 5.0]}) and not answer.will_close
    assert answer.headers["Server"] == "arena-serving/1.0" and answer.headers["Content-Type"] == "application/json"
    assert ask(client, "POST", "/v1/models/double/versions/7:predict", {"inputs": [3]})[1] == {"outputs": [6]}
    assert ask(client, "GET", "/v1/models/double")[:2] == (
        200,
        {
            "model_version_status": [
                {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        },
    )
    spec = {"name": "double", "signature_name": "", "version": "7"}
    assert ask(client, "GET", "/v1/models/double/metadata")[1] == {
        "model_spec": spec,
        "metadata": {"signature_def": {}},
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/models/double:predict", {"instances": []}, 400, "at least one value"),
        ("POST", "/v1/models/double:predict", {"instances": [1], "signature_name": "s"}, 400, "not found in signature"),
        ("POST", "/v1/models/double:predict", [1], 400, "JSON Parse error"),
        ("POST", "/v1/models/half:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(half)"),
        ("POST", "/v1/models/double/versions/1:predict", {"instances": [1]}, 404, "Specific(double, 1)"),
        ("GET", "/v1/models/half", None, 404, "Could not find any versions of model half"),
        ("GET", "/v1/models/double/versions/1", None, 404, "Could not find version 1 of model double"),
        ("GET", "/elsewhere", None, 400, "Malformed request: GET /elsewhere"),
        ("POST", "/v1/models/double:predict", {"instances": [{}]}, 400, "it has no names, not x"),
        ("POST", "/v1/models/double:predict", {"inputs": 1}, 500, "TypeError"),
    ],
)
def test_mistakes_are_told(
    client: http.client.HTTPConnection, method: str, path: str, body: Any, status: int, says: str
) -> None:
    found = ask(client, method, path, body)
    assert found[0] == status and list(found[1]) == ["error"] and says in found[1]["error"]
    assert ask(client, "GET", "/v1/models/double")[0] == 200, "the connection is still good"


def test_while_it_ends_it_answers_and_sends_clients_elsewhere(
    server: web.Server, client: http.client.HTTPConnection
) -> None:
    assert ask(client, "GET", "/v1/models/double")[0] == 200
    port = server.server_address[1]
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    waiting = threading.Thread(target=lambda: results.append(ask(other, "POST", *WAIT)))
    results: list[Any] = []
    waiting.start()
    assert Doubler.slow.wait(10)
    ending = threading.Thread(target=server.drain, args=(0.2, 10))
    ending.start()
    time.sleep(0.3)
    status, _, answer = ask(client, "GET", "/v1/models/double")
    assert status == 200 and answer.will_close
    late = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    assert ask(late, "GET", "/v1/models/double")[0] == 200, "who comes late is answered too"
    assert ending.is_alive(), "somebody is still waiting for an answer"
    Doubler.release.set()
    waiting.join(10)
    assert results[0][:2] == (200, {"predictions": ["waited"]}) and results[0][2].will_close
    ending.join(5)
    assert not ending.is_alive()


WAIT = ("/v1/models/double:predict", {"instances": ["wait"]})
