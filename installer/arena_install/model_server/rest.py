"""REST's requests and answers, as https://www.tensorflow.org/tfx/serving/api_rest has them. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from refusal import Refusal, invalid  # type: ignore[import-not-found]  # beside this file

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:[a-z]+)?")
_ELSEWHERE = {":classify", ":regress"}
DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Call:
    """kind: "status", "metadata" or "predict". version: None for the newest (of a status: for all)."""

    kind: str
    model: str
    version: int | None


@dataclass(frozen=True)
class Question:
    """inputs: name -> nested lists. by_row: whether it came as `instances`, and is answered so."""

    signature: str
    inputs: Mapping[str, Any]
    by_row: bool


def route(method: str, path: str) -> Call:
    """Raises Refusal."""
    match = _PATH.fullmatch(path)
    malformed = invalid(f"Malformed request: {method} {path}")
    if not match:
        raise malformed
    model, version, label, action = match.groups()
    if label:
        raise invalid(f"Unrecognized servable version label: {label}")
    if action in _ELSEWHERE and method == "POST":
        raise Refusal("UNIMPLEMENTED", f"{action[1:]} is not offered by this server: use predict")
    kind = {("GET", None): "status", ("GET", "/metadata"): "metadata", ("POST", ":predict"): "predict"}.get(
        (method, action)
    )
    if kind is None:
        raise malformed
    return Call(kind, model, int(version) if version else None)


def document(body: bytes) -> dict[str, Any]:
    """Raises Refusal where it is no JSON object."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(found, dict):
        raise invalid("JSON Parse error: the request is not an object")
    return found


def signature_of(request: Mapping[str, Any]) -> str:
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    return name or DEFAULT_SIGNATURE


def question(request: Mapping[str, Any], names: Collection[str]) -> Question:
    """names: of the signature's inputs. Raises Refusal."""
    rows, columns = request.get("instances"), request.get("inputs")
    if "instances" in request and "inputs" in request:
        raise invalid("Not formatted correctly: expected one of 'instances' and 'inputs', both are there")
    if "instances" in request:
        if not isinstance(rows, list) or not rows:
            raise invalid("Excepting 'instances' to be an list/array with at least one value")
        return Question(signature_of(request), _by_row(rows, names), True)
    if "inputs" in request:
        return Question(signature_of(request), _by_column(columns, names), False)
    raise invalid("Missing 'inputs' or 'instances' key")


def _by_row(rows: list[Any], names: Collection[str]) -> dict[str, list[Any]]:
    if not _named(rows[0]):
        return {_only(names): [_plain(row) for row in rows]}
    found: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in enumerate(rows):
        if not _named(row) or set(row) != set(names):
            there = ", ".join(sorted(row)) if row and isinstance(row, dict) else "no names"
            raise invalid(f"Failed to process element: {number} of 'instances': it has {there}, not {_list(names)}")
        for name, value in row.items():
            found[name].append(_plain(value))
    return found


def _by_column(columns: Any, names: Collection[str]) -> dict[str, Any]:
    if not _named(columns):
        return {_only(names): _plain(columns)}
    if set(columns) != set(names):
        raise invalid(f"'inputs' has {', '.join(sorted(columns))}, the signature wants {_list(names)}")
    return {name: _plain(value) for name, value in columns.items()}


def _named(value: Any) -> bool:
    """Whether these are inputs by name, and not one value of bytes."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _only(names: Collection[str]) -> str:
    if len(names) != 1:
        raise invalid(f"values without a name are for signatures with one input, this one has {_list(names)}")
    return next(iter(names))


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _plain(value: Any) -> Any:
    """With {"b64": TEXT} replaced by the bytes that it stands for."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise invalid(f"JSON Value: {json.dumps(value)[:100]} not formatted correctly for base64 data") from None


def answer(outputs: Mapping[str, Any], *, by_row: bool) -> dict[str, Any]:
    """outputs: name -> nested lists; str and bytes are text unless the name ends with _bytes. Raises Refusal."""
    spoken = {name: _spoken(value, name.endswith("_bytes")) for name, value in outputs.items()}
    if not by_row:
        return {"outputs": spoken if len(spoken) != 1 else next(iter(spoken.values()))}
    lengths = {len(value) if isinstance(value, list) else -1 for value in spoken.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise invalid("Tensors have inconsistent batch size: ask by 'inputs', not by 'instances'")
    if len(spoken) == 1:
        return {"predictions": next(iter(spoken.values()))}
    return {"predictions": [dict(zip(spoken, row, strict=True)) for row in zip(*spoken.values(), strict=True)]}


def _spoken(value: Any, binary: bool) -> Any:
    if isinstance(value, list):
        return [_spoken(one, binary) for one in value]
    if not isinstance(value, bytes):
        return value
    if binary:
        return {"b64": base64.b64encode(value).decode()}
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise invalid("an output holds bytes that are no text: its name must end with _bytes") from None
