"""What suite notebooks makes of a visit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from arena_install.verify.checks.notebooks import hub, problems_of
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError

GPU = "GPU-1"


def visit(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """As the client reports it where all is well, but for what is changed."""
    good: dict[str, dict[str, Any]] = {
        "stranger": {"pages": {"/hub/home": "login", "/hub/api/users": 403}},
        "refused": {"status": 403, "token": 403},
        "login": {"status": 302},
        "first": {"seconds": 9.0, "uuids": [GPU], "arena": 0, "said": "", "pages": {"/user/a/lab": "login"}},
        "second": {"seconds": 8.0, "uuids": [], "kept": True},
        "end": {},
    }
    return [{"kind": kind, **fields, **changed.get(kind, {})} for kind, fields in good.items()]


def test_a_good_visit() -> None:
    assert problems_of(visit(), [[GPU]]) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"stranger": {"pages": {"/hub/api/users": 200}}}, "/hub/api/users is shown without a login (200)"),
        ({"first": {"pages": {"/user/a/lab": 200}}}, "/user/a/lab is shown without a login (200)"),
        ({"refused": {"status": 302}}, "wrong passwords are answered with 302 and 403, not refused"),
        ({"login": {"status": 403}}, "the right password is answered with 403"),
        ({"first": {"uuids": []}}, "a cell sees no GPU, the kubelet gave [['GPU-1']]"),
        ({"first": {"uuids": ["GPU-2"]}}, "a cell sees ['GPU-2'], the kubelet gave [['GPU-1']]"),
        ({"first": {"uuids": ["GPU-1", "GPU-2"]}}, "a cell sees ['GPU-1', 'GPU-2'], the kubelet gave [['GPU-1']]"),
        ({"first": {"arena": 1, "said": "Forbidden"}}, "`arena list` in the notebook ends with 1: Forbidden"),
        ({"second": {"uuids": [GPU]}}, "a notebook without GPU sees ['GPU-1']"),
        ({"second": {"kept": False}}, "the file of the first notebook is not in the second's home folder"),
    ],
)
def test_each_thing_that_can_be_wrong(changed: dict[str, dict[str, Any]], problem: str) -> None:
    assert problems_of(visit(**changed), [[GPU]]) == [problem]


def test_a_visit_that_stops_is_no_good_one() -> None:
    said = visit()
    assert problems_of(said[:3], []) == ["the visit did not come to its end; see its log in the evidence"]
    assert problems_of([*said[:3], {"kind": "error", "text": "no"}], []) == ["no"]
    assert problems_of([], []) != []


def test_a_gpu_that_the_kubelet_did_not_give() -> None:
    assert problems_of(visit(), []) == ["a cell sees ['GPU-1'], the kubelet gave none"]


class FakeKube:
    """The API server's way to the hub. statuses: what the hub's lists answer to a stranger; None: there is no hub."""

    def __init__(self, statuses: dict[str, int] | None) -> None:
        self._statuses = statuses

    def get(self, path: str) -> dict[str, str]:
        if self._statuses is None:
            raise ApiError("GET", 503, "no endpoints available")
        return {"version": "6.1.1"}

    def status(self, path: str) -> int:
        return (self._statuses or {}).get(path.rpartition("/")[2], 403)


def context(statuses: dict[str, int] | None) -> Context:
    return cast(Context, SimpleNamespace(kube=FakeKube(statuses), save=lambda *_: ""))


def test_a_hub_that_refuses_strangers() -> None:
    assert hub(context({})).status == "pass"


def test_a_hub_that_shows_strangers_its_users() -> None:
    found = hub(context({"users": 200}))
    assert (found.status, found.cause) == ("fail", "/hub/api/users answers 200 to a stranger")


def test_no_hub() -> None:
    with pytest.raises(CheckFailed, match="does not answer") as caught:
        hub(context(None))
    assert caught.value.why == "no endpoints available" and "get pods" in caught.value.fix
