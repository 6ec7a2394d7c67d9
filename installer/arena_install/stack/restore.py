"""Take out what somebody added to objects of ours: Helm and server-side apply set our fields and leave all others."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arena_install.stack import drift
from arena_install.stack.api import MANAGER, Api, ApiError, Object
from arena_install.stack.ledger import OWNER_LABEL


def take_back(api: Api, wanted: Iterable[Mapping[str, Any]], namespace: str) -> None:
    """Put each object in the place of what is there, where somebody else wrote to that too. wanted: whole objects;
    namespace: of those that name none. Labels and annotations stay, and what controllers have filled in.

    What the API server refuses is left to the step that follows, which sets our fields and tells why it can't."""
    for obj in wanted:
        if obj["kind"] not in drift.STEADY:
            continue
        metadata = obj["metadata"]
        found = api.get(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace") or namespace)
        if found is not None and drift.strangers(found):
            labels = found["metadata"].get("labels") or {}
            with contextlib.suppress(ApiError):
                api.replace(_in_place_of(found, obj), manager=MANAGER if OWNER_LABEL in labels else "helm")


def _in_place_of(found: Object, wanted: Mapping[str, Any]) -> Object:
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    fresh: Object = {**copy.deepcopy(dict(wanted)), "metadata": metadata}
    known = {name: client.get("caBundle") for name, client in _clients(found)}
    for name, client in _clients(fresh):
        client.setdefault("caBundle", known.get(name))
    return fresh


def _clients(obj: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, clientConfig) of each webhook of a webhook configuration or a CRD."""
    for row in obj.get("webhooks") or ():
        yield row["name"], row["clientConfig"]
    if webhook := ((obj.get("spec") or {}).get("conversion") or {}).get("webhook"):
        yield "", webhook["clientConfig"]
