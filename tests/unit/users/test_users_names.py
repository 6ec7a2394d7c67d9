"""Which names can be meant, and that nobody is ever taken for somebody else."""

from __future__ import annotations

import pytest

from arena_install.errors import ConfigError
from arena_install.users import names


@pytest.mark.parametrize("name", ["a", "alice", "team-7", "7up", "a" * names.LONGEST])
def test_good_names(name: str) -> None:
    names.check_name(name)
    assert names.name_of(names.identity(name, "0a1b2c")) == name
    assert len(names.identity(name, "0a1b2c")) <= 64


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "ä", "a.b", "a b", "a\n", "a" * (names.LONGEST + 1)])
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        names.check_name(name)
    assert caught.value.exit_code == 2 and caught.value.fix


@pytest.mark.parametrize("user", ["alice", "arena:alice", "arena:alice:xyz", "arena:alice:0a1b2c3", "x:alice:0a1b2c"])
def test_what_is_no_identity_of_ours(user: str) -> None:
    assert names.name_of(user) == ""


@pytest.mark.parametrize("namespace", ["default", "kube-x", "arena-system", "kubeflow"])
def test_namespaces_of_the_platform(namespace: str) -> None:
    with pytest.raises(ConfigError, match="the platform's"):
        names.check_namespace(namespace, {"kubeflow"})


@pytest.mark.parametrize("text", ["16", "500m", "1.5", "64Gi", "2k"])
def test_amounts(text: str) -> None:
    names.check_quantity("--cpu", text)


@pytest.mark.parametrize("text", ["", "-1", "64GB", "64gi", "many", "1 Gi", "1e3Gi"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(ConfigError, match="--memory"):
        names.check_quantity("--memory", text)
