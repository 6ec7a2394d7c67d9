"""Who may come in to JupyterHub."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from arena_install.notebook_hub import people
from arena_install.users import names, notebook, objects
from arena_install.users.objects import Identity

ALICE = Identity("alice", "team-a", "4f2a91", names.identity("alice", "4f2a91"))


def namespace(of: Identity = ALICE, **meta: Any) -> dict[str, Any]:
    found = objects.namespace(of)
    return {**found, "metadata": found["metadata"] | meta}


def secret(password: str) -> dict[str, Any]:
    return {"data": {"password": base64.b64encode(password.encode()).decode()}}


def test_a_user_is_called_by_namespace_and_id() -> None:
    name = people.hub_name(namespace())
    assert name == "team-a-4f2a91" and people.namespace_of(name) == "team-a"


def test_it_speaks_of_the_same_labels_and_names_as_user_add() -> None:
    """The image has no arena_install."""
    assert (people.USER_LABEL, people.ID, people.LOGIN) == (names.USER_LABEL, names.ID, notebook.LOGIN)
    assert {people.MANAGED[0]: people.MANAGED[1]} == names.MANAGED


@pytest.mark.parametrize("changed", [{"labels": {}}, {"annotations": {}}, {"deletionTimestamp": "now"}])
def test_a_namespace_that_is_no_users_or_is_going_is_nobodys(changed: dict[str, Any]) -> None:
    assert people.hub_name(namespace(**changed)) == ""
    assert people.owner([namespace(**changed)]) is None


def test_a_namespace_that_only_names_a_user_is_nobodys() -> None:
    """One that arena-install made says so."""
    assert people.hub_name(namespace(labels={names.USER_LABEL: "alice"})) == ""


def test_of_two_namespaces_none_is_taken() -> None:
    other = Identity("alice", "team-b", "000000", "")
    assert people.owner([namespace()]) == namespace()
    assert people.owner([namespace(), namespace(other)]) is None


@pytest.mark.parametrize("name", ["", "alice", "alice-4f2a9", "alice-4F2A91", "-4f2a91", "a,b=c-4f2a91", "4f2a91"])
def test_names_that_no_user_has(name: str) -> None:
    assert people.namespace_of(name) == ""


@pytest.mark.parametrize("text", ["", "Alice", "a,b", "a=b", "a b", "-a", "a" * 64])
def test_names_that_would_change_the_query(text: str) -> None:
    assert not people.is_name(text)


def test_passwords() -> None:
    good = notebook.login(ALICE)
    password = base64.b64decode(good["data"]["password"]).decode()
    assert len(password) >= 24 and people.is_right(good, password)
    assert notebook.login(ALICE)["data"] != good["data"]
    for wrong in ("", password[:-1], password + "x", "é" * 20):
        assert not people.is_right(good, wrong)
    assert not people.is_right(None, "") and not people.is_right({"data": {}}, "") and not people.is_right({}, "")
    assert not people.is_right(secret("short"), "short"), "one that can be guessed lets nobody in"
    assert not people.is_right({"data": {"password": "%%%"}}, "")
