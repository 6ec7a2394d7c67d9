"""The serving checks on what clients told, and the client itself against a server of the test."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arena_install.artifacts import load_lock
from arena_install.pipeline.setting import Wishes, lab_names, read_config
from arena_install.verify import images_for, payloads, pods, serving, suites_for
from arena_install.verify.checks import serving as checks
from arena_install.verify.context import CheckFailed
from arena_install.verify.records import records

PAYLOADS = Path(payloads.__file__).parent
GOOD = {
    "requests": 200, "failed": 0, "errors": [], "wrong": 0, "right": 190, "versions": {"1": 200},
    "p50_ms": 4, "p95_ms": 9,
}  # fmt: skip
STEADY = {**GOOD, "requests": 2000, "right": 1900, "versions": {"1": 900, "2": 1100}}


def test_answers_as_they_should_be_pass() -> None:
    assert checks.answered({"rest": GOOD, "grpc": GOOD}) == []
    assert checks.rolled(STEADY) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"failed": 3, "errors": ["after 2 requests: refused"]},
            "gRPC: 3 of 200 requests failed; after 2 requests: ref",
        ),
        ({"wrong": 1}, "gRPC: 1 of 200 answers are not those of the model itself"),
        ({"right": 20}, "20 of 200 digits were recognised"),
        ({"versions": {"1": 100, "2": 100}}, "version 1 is served, answers are of 2"),
    ],
)
def test_what_is_wrong_with_answers_is_found(change: dict[str, Any], says: str) -> None:
    (problem,) = checks.answered({"rest": GOOD, "grpc": {**GOOD, **change}})
    assert says in problem


def test_a_client_that_told_nothing() -> None:
    assert checks.answered({"rest": GOOD}) == ["gRPC: the client told nothing"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"failed": 1, "errors": ["reset"]}, "1 of 2,000 requests failed; reset"),
        ({"wrong": 2}, "2 of 2,000 answers"),
        ({"requests": 999}, "999 requests were made, 1,000 are asked for"),
        ({"versions": {"1": 2000}}, "version 2 gave 0 answers"),
        ({"versions": {"1": 3, "2": 1997}}, "version 1 gave 3 answers"),
    ],
)
def test_what_is_wrong_with_a_rolling_update_is_found(change: dict[str, Any], says: str) -> None:
    (problem,) = checks.rolled({**STEADY, **change})
    assert says in problem


def test_the_image_comes_with_profile_full_alone() -> None:
    suites = suites_for(["flannel", "local-path-provisioner"], "full")
    assert "serving" in suites and "serving" not in suites_for(["flannel"], "full")
    assert "serving" not in suites_for(["flannel", "local-path-provisioner"])
    assert pods.SERVING not in images_for(suites) and pods.SERVING in images_for(suites, "full")
    assert load_lock().find(pods.SERVING).name == pods.SERVING
    for profile, has in (("minimal", False), ("full", True)):
        wishes = Wishes(profile=profile)
        assert (pods.SERVING in lab_names(read_config(wishes), wishes, lambda _: None)) is has


def test_what_arena_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckFailed, match="arena serve tensorflow made nothing") as error:
        serving.dry_run(["tensorflow", "--name", "a"])
    assert "either --model-path or --model-config-file says so" in error.value.why


@pytest.fixture(scope="module")
def client() -> Iterator[ModuleType]:
    yield from imported("serving_client")


@pytest.fixture(scope="module")
def own() -> Iterator[ModuleType]:
    yield from imported("serving_custom")


def imported(name: str) -> Iterator[ModuleType]:
    sys.path.insert(0, str(PAYLOADS))
    try:
        spec = importlib.util.spec_from_file_location(f"{name}_payload", PAYLOADS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclasses look for it
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(PAYLOADS))


@pytest.fixture
def answers(client: ModuleType) -> Any:
    rows = {"1": [[0.9, 0.1], [0.2, 0.8]], "2": [[0.7, 0.3], [0.4, 0.6]]}
    return client.Answers([5, 6], [0, 1], rows)


def test_an_answer_is_known_by_its_model(client: ModuleType, answers: Any) -> None:
    tally = client.Tally()
    for place, scores in ((0, [0.90001, 0.09999]), (1, [0.4, 0.6]), (0, [0.2, 0.8]), (1, [0.2])):
        assert tally.count(answers, place, lambda _, scores=scores: scores)

    def refused(place: int) -> list[float]:
        raise ConnectionError("nobody there")

    assert not tally.count(answers, 0, refused)
    told = tally.told()
    assert (told["requests"], told["failed"], told["wrong"], told["right"]) == (5, 1, 2, 2)
    assert told["versions"] == {"1": 1, "2": 1}
    assert told["errors"] == ["after 5 requests: ConnectionError: nobody there"]


@pytest.mark.parametrize(
    ("values", "p50", "p95"), [([], 0, 0), ([7.0], 7, 7), ([*map(float, range(1, 101))], 50, 95), ([1.0, 2.0], 1, 2)]
)
def test_percentiles(client: ModuleType, values: list[float], p50: float, p95: float) -> None:
    assert (client.percentile(values, 50), client.percentile(values, 95)) == (p50, p95)


class Echo(BaseHTTPRequestHandler):
    """Answers by how bright the first pixel is; the third request is told to come again elsewhere, the fifth fails."""

    protocol_version = "HTTP/1.1"
    seen = 0

    def do_POST(self) -> None:
        type(self).seen += 1
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (image,) = asked["instances"]
        assert (len(image), len(image[0]), len(image[0][0])) == (28, 28, 1)
        scores = [image[0][0][0], 1 - image[0][0][0]]
        body = json.dumps({"predictions": [{"scores": scores, "digit": 0}]}).encode()
        self.send_response(503 if self.seen == 5 else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.seen == 3:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_rest_goes_on_over_new_connections(client: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(client, "REST", server.server_address[1])
    images = [bytes([255] * 784), bytes(784)]
    ask = client.Rest("127.0.0.1", "digits", images)
    tally = client.Tally()
    answers = client.Answers([0, 1], [0, 1], {"1": [[1.0, 0.0], [0.0, 1.0]]})
    for number in range(6):
        tally.count(answers, number % 2, ask)
    server.shutdown()
    told = tally.told()
    assert (told["requests"], told["failed"], told["wrong"], told["right"]) == (6, 1, 0, 5)
    assert "503" in told["errors"][0]


def test_a_server_of_ones_own(
    own: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(own, "LABELS", tmp_path / "labels")
    own.LABELS.write_bytes(bytes([7, 2, 1]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own.ask("127.0.0.1", port, 2)
    threading.Thread(target=own.serve, args=(port,), daemon=True).start()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    own.ask("127.0.0.1", port, 3)
    before, after = records(capsys.readouterr().out, "served")
    assert (before["failed"], after["failed"], after["wrong"], after["requests"]) == (2, 0, 0, 3)
    assert "ConnectionRefusedError" in before["errors"][0] and after["p95_ms"] >= after["p50_ms"] > 0
    own.LABELS.write_bytes(bytes([7, 2, 9]))
    own.ask("127.0.0.1", port, 3)
    (told,) = records(capsys.readouterr().out, "served")
    assert told["wrong"] == 1, "the server has another copy"


def test_the_second_model_lies_where_the_export_puts_it() -> None:
    script = (PAYLOADS / "tf_export.py").read_text()
    compile(script, "tf_export.py", "exec")
    assert f'MODELS = ("{serving.MODEL}/1", "{serving._SECOND}/2")' in script
