"""Asks a server of TensorFlow models about digits, by REST and gRPC, and compares with what the models themselves say.

    serving_client.py ADDRESS MODEL ANSWERS [--count 200]
    serving_client.py ADDRESS MODEL ANSWERS --steady --least 1000 --stop FILE

The first form asks `count` times by each way, unless that fails again and again. The second goes on, by both at once,
until FILE is there and `least` requests have been made, or one has failed; nothing is asked twice. ANSWERS is written
by tf_export.py.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file
from mnist import SIDE, load  # type: ignore[import-not-found]

REST, GRPC = 8501, 8500
_PATIENCE = 10.0  # seconds for an answer
_NEAR = 1e-4  # how much a score may differ
_ENOUGH = 10  # failures after which one way is given up
_PAUSE = 0.01  # seconds between requests of one thread under --steady
_THREADS = ("rest", "rest", "grpc")

Ask = Callable[[int], Sequence[float]]


@dataclass
class Answers:
    """indices: of digits. scores: version -> for each of them ten numbers."""

    indices: list[int]
    labels: list[int]
    scores: dict[str, list[list[float]]]

    def version(self, place: int, scores: Sequence[float]) -> str:
        """Of the model that answers so, "" for none."""
        return next((name for name, rows in self.scores.items() if near(rows[place], scores)), "")


def near(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= _NEAR for a, b in zip(one, other, strict=True))


@dataclass
class Tally:
    """Thread-safe. versions: answers by the version that gave them; wrong: answers that no version gives."""

    lock: Any = field(default_factory=threading.Lock)
    milliseconds: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    right: int = 0  # by the digit's label
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.milliseconds) + self.failed

    def count(self, answers: Answers, place: int, ask: Ask) -> bool:
        """Ask about one digit; gives whether there was an answer."""
        began = time.perf_counter()
        try:
            scores = ask(place)
        except Exception as error:  # whatever it is, the request has failed
            with self.lock:
                self.failed += 1
                self.errors.append(f"after {self.requests} requests: {type(error).__name__}: {error}"[:300])
            return False
        took = (time.perf_counter() - began) * 1000
        version = answers.version(place, scores)
        with self.lock:
            self.milliseconds.append(took)
            self.versions[version] += bool(version)
            self.wrong += not version
            self.right += max(range(len(scores)), key=list(scores).__getitem__) == answers.labels[place]
        return True

    def told(self) -> dict[str, Any]:
        with self.lock:
            times = sorted(self.milliseconds)
            return {
                "requests": self.requests,
                "failed": self.failed,
                "errors": self.errors[:5],
                "wrong": self.wrong,
                "right": self.right,
                "versions": {name: count for name, count in self.versions.items() if count},
                **{f"p{share}_ms": round(percentile(times, share), 2) for share in (50, 95)},
            }


def percentile(ordered: Sequence[float], share: int) -> float:
    """By nearest rank; 0 of nothing."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else 0.0


class Rest:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, address: str, model: str, images: Sequence[bytes]) -> None:
        self._connection = http.client.HTTPConnection(address, REST, timeout=_PATIENCE)
        self._path = f"/v1/models/{model}:predict"
        self._bodies = [json.dumps({"instances": [_rows(image)]}) for image in images]

    def __call__(self, place: int) -> Sequence[float]:
        try:
            self._connection.request("POST", self._path, self._bodies[place], {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            body = response.read()
        except Exception:
            self._connection.close()
            raise
        if response.status != 200:
            raise RuntimeError(f"{response.status} {body[:200].decode(errors='replace')}")
        found: list[float] = json.loads(body)["predictions"][0]["scores"]
        return found


def _rows(image: bytes) -> list[list[list[float]]]:
    return [[[pixel / 255] for pixel in image[row * SIDE : (row + 1) * SIDE]] for row in range(SIDE)]


class Grpc:
    def __init__(self, address: str, model: str, images: Sequence[bytes]) -> None:
        import grpc  # type: ignore[import-untyped]
        from tensorflow.core.framework import types_pb2  # type: ignore[import-untyped]
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # type: ignore[import-not-found]

        self._error = grpc.RpcError
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(f"{address}:{GRPC}"))
        self._requests = []
        for image in images:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            proto = request.inputs["images"]
            proto.dtype = types_pb2.DT_FLOAT
            for size in (1, SIDE, SIDE, 1):
                proto.tensor_shape.dim.add(size=size)
            proto.float_val.extend(pixel / 255 for pixel in image)
            self._requests.append(request)

    def __call__(self, place: int) -> Sequence[float]:
        try:
            answer = self._stub.Predict(self._requests[place], timeout=_PATIENCE)
        except self._error as error:
            raise RuntimeError(f"{error.code().name}: {error.details()}") from None
        return list(answer.outputs["scores"].float_val)


WAYS: dict[str, Callable[[str, str, Sequence[bytes]], Ask]] = {"rest": Rest, "grpc": Grpc}


def measure(answers: Answers, ways: dict[str, Ask], count: int) -> None:
    for name, ask in ways.items():
        tally = Tally()
        for number in range(count):
            tally.count(answers, number % len(answers.indices), ask)
            if tally.failed >= _ENOUGH:
                break
        report("served", way=name, **tally.told())


def steady(answers: Answers, asks: Sequence[Ask], least: int, stop: Path) -> None:
    tally = Tally()
    ended = threading.Event()

    def go_on(ask: Ask) -> None:
        place = 0
        while not ended.is_set():
            tally.count(answers, place, ask)
            place = (place + 1) % len(answers.indices)
            time.sleep(_PAUSE)

    threads = [threading.Thread(target=go_on, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    while not (stop.exists() and (tally.failed or tally.requests >= least)):
        time.sleep(1)
        report("going", **tally.told())
    ended.set()
    for thread in threads:
        thread.join()
    report("steady", **tally.told())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("answers", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steady", action="store_true")
    parser.add_argument("--least", type=int, default=1000)
    parser.add_argument("--stop", type=Path, default=Path("/tmp/stop"))
    args = parser.parse_args()
    answers = Answers(**json.loads(args.answers.read_text()))
    pixels, _ = load()
    size = SIDE * SIDE
    images = [pixels[index * size : (index + 1) * size] for index in answers.indices]
    if args.steady:
        asks = [WAYS[way](args.address, args.model, images) for way in _THREADS]
        steady(answers, asks, args.least, args.stop)
    else:
        ways = {name: make(args.address, args.model, images) for name, make in WAYS.items()}
        measure(answers, ways, args.count)


if __name__ == "__main__":
    main()
