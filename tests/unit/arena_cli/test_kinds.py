"""The table of kinds: what it says must be installed is something that arena-install can install."""

from __future__ import annotations

import pytest

from arena_cli.kinds import KINDS, kind_of
from arena_install.errors import ConfigError
from arena_install.stack import catalogue


def test_operators_are_components_of_those_names() -> None:
    assert {kind.needs for kind in KINDS if kind.needs} <= set(catalogue())


@pytest.mark.parametrize(
    ("word", "type_"),
    [("tf", "tfjob"), ("Pytorch", "pytorchjob"), ("PY", "pytorchjob"), ("aw", "appwrapperjob"), ("dp", "deepspeedjob")],
)
def test_types_by_any_of_their_names(word: str, type_: str) -> None:
    assert kind_of(word).type == type_


def test_an_unknown_type_suggests() -> None:
    with pytest.raises(ConfigError, match="is no kind of job") as error:
        kind_of("pytorchjop")
    assert "`pytorchjob`" in error.value.fix
