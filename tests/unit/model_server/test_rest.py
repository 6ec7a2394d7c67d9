"""REST's requests and answers, without TensorFlow: each case is one of the API's documentation, or a mistake in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rest
from refusal import Refusal


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("GET", "/v1/models/digits", ("status", "digits", None)),
        ("GET", "/v1/models/digits/versions/3", ("status", "digits", 3)),
        ("GET", "/v1/models/digits/metadata", ("metadata", "digits", None)),
        ("GET", "/v1/models/digits/versions/3/metadata", ("metadata", "digits", 3)),
        ("POST", "/v1/models/digits:predict", ("predict", "digits", None)),
        ("POST", "/v1/models/a-b.c/versions/12:predict", ("predict", "a-b.c", 12)),
    ],
)
def test_paths(method: str, path: str, call: tuple[str, str, int | None]) -> None:
    assert rest.route(method, path) == rest.Call(*call)


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/", 400, "Malformed request: GET /"),
        ("GET", "/v1/models/", 400, "Malformed request"),
        ("GET", "/v1/models/digits:predict", 400, "Malformed request: GET /v1/models/digits:predict"),
        ("POST", "/v1/models/digits", 400, "Malformed request"),
        ("POST", "/v1/models/digits/versions/new:predict", 400, "Malformed request"),
        ("POST", "/v1/models/digits:explain", 400, "Malformed request"),
        ("POST", "/v1/models/digits/labels/stable:predict", 400, "version label: stable"),
        ("POST", "/v1/models/digits:classify", 501, "classify is not offered"),
        ("POST", "/v1/models/digits:regress", 501, "use predict"),
    ],
)
def test_paths_that_are_none(method: str, path: str, status: int, says: str) -> None:
    with pytest.raises(Refusal, match=says) as error:
        rest.route(method, path)
    assert error.value.status == status


@pytest.mark.parametrize(
    ("request_", "names", "inputs", "by_row"),
    [
        ({"instances": [[1, 2], [3, 4]]}, ["x"], {"x": [[1, 2], [3, 4]]}, True),
        ({"instances": [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]}, ["x", "y"], {"x": [1, 2], "y": ["a", "b"]}, True),
        ({"instances": [{"x": 1}]}, ["x"], {"x": [1]}, True),
        ({"instances": [{"b64": "aGk="}, {"b64": "eW8="}]}, ["x"], {"x": [b"hi", b"yo"]}, True),
        ({"instances": [{"x": {"b64": "aGk="}}]}, ["x"], {"x": [b"hi"]}, True),
        ({"inputs": [[1], [2]]}, ["x"], {"x": [[1], [2]]}, False),
        ({"inputs": 3}, ["x"], {"x": 3}, False),
        ({"inputs": {"x": [1, 2], "y": {"b64": "aGk="}}}, ["x", "y"], {"x": [1, 2], "y": b"hi"}, False),
        ({"inputs": None}, ["x"], {"x": None}, False),
    ],
)
def test_questions(request_: dict[str, Any], names: list[str], inputs: dict[str, Any], by_row: bool) -> None:
    asked = rest.question(request_, names)
    assert (asked.signature, asked.inputs, asked.by_row) == ("serving_default", inputs, by_row)


@pytest.mark.parametrize(
    ("request_", "names", "says"),
    [
        ({}, ["x"], "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, ["x"], "both are there"),
        ({"instances": []}, ["x"], "at least one value"),
        ({"instances": {"x": 1}}, ["x"], "at least one value"),
        ({"instances": [1]}, ["x", "y"], "without a name are for signatures with one input, this one has x, y"),
        ({"instances": [{"z": 1}]}, ["x"], "element: 0 of 'instances': it has z, not x"),
        ({"instances": [{"x": 1}, 2]}, ["x"], "element: 1 of 'instances': it has no names, not x"),
        ({"inputs": {"x": 1}}, ["x", "y"], "'inputs' has x, the signature wants x, y"),
        ({"inputs": [{"b64": "no base64"}]}, ["x"], "not formatted correctly for base64"),
        ({"inputs": [{"z": 1}]}, ["x"], "not formatted correctly for base64"),
        ({"inputs": 1, "signature_name": 2}, ["x"], "must be a string"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_questions_that_are_none(request_: dict[str, Any], names: list[str], says: str) -> None:
    with pytest.raises(Refusal, match=says) as error:
        rest.question(request_, names)
    assert error.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"nothing"])
def test_what_is_no_object(body: bytes) -> None:
    with pytest.raises(Refusal, match="JSON Parse error"):
        rest.document(body)


def test_answers() -> None:
    one, two = {"scores": [[0.5], [0.25]]}, {"scores": [[0.5], [0.25]], "digit": [7, 1]}
    assert rest.answer(one, by_row=True) == {"predictions": [[0.5], [0.25]]}
    assert rest.answer(one, by_row=False) == {"outputs": [[0.5], [0.25]]}
    assert rest.answer(two, by_row=False) == {"outputs": two}
    rows = [{"scores": [0.5], "digit": 7}, {"scores": [0.25], "digit": 1}]
    assert rest.answer(two, by_row=True) == {"predictions": rows}
    assert rest.answer({"name": [b"seven"], "raw_bytes": [b"\xff"]}, by_row=True) == {
        "predictions": [{"name": "seven", "raw_bytes": {"b64": "/w=="}}]
    }


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"a": [1, 2], "b": [1]}, "inconsistent batch size"),
        ({"a": 1}, "inconsistent batch size"),
        ({"a": [b"\xff"]}, "must end with _bytes"),
    ],
)
def test_outputs_that_no_answer_holds(outputs: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        rest.answer(outputs, by_row=True)
