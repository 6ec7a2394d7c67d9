"""Versions of a model come and go while others are served."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusal import Refusal
from versions import Model, latest


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def model(tmp_path: Path, clock: Clock) -> Model:
    return Model("digits", tmp_path, load, clock=clock)


def load(folder: Path) -> str:
    if not (folder / "saved_model.pb").exists():
        raise Refusal("NOT_FOUND", f"{folder.name} has no saved_model.pb")
    return f"loaded {folder.name}"


def export(folder: Path, name: str, *, whole: bool = True) -> None:
    (folder / name).mkdir(exist_ok=True)
    if whole:
        (folder / name / "saved_model.pb").touch()


def states(model: Model) -> dict[str, str]:
    return {row["version"]: row["state"] for row in model.status()}


def test_the_newest_by_number_is_served(model: Model, tmp_path: Path) -> None:
    for name in ("2", "10", "0009", "notes", "3.tmp"):
        export(tmp_path, name)
    (tmp_path / "11").write_text("a file")
    model.poll()
    assert model.ready and model.get() == (10, "loaded 10") and states(model) == {"10": "AVAILABLE"}
    with pytest.raises(Refusal, match=r"Servable not found for request: Specific\(digits, 2\)") as error:
        model.get(2)
    assert error.value.status == 404


def test_a_newer_one_takes_its_place_only_when_it_is_loaded(model: Model, tmp_path: Path, clock: Clock) -> None:
    export(tmp_path, "1")
    model.poll()
    export(tmp_path, "2", whole=False)
    model.poll()
    assert model.get() == (1, "loaded 1") and states(model) == {"2": "END", "1": "AVAILABLE"}
    assert model.status(2)[0]["status"] == {"error_code": "NOT_FOUND", "error_message": "2 has no saved_model.pb"}
    export(tmp_path, "2")
    model.poll()
    assert model.get()[0] == 1, "it waits before it tries once more"
    clock.now += 3
    model.poll()
    assert model.get() == (2, "loaded 2") and states(model) == {"2": "AVAILABLE", "1": "END"}


def test_it_goes_back_when_the_newest_is_taken_away(model: Model, tmp_path: Path) -> None:
    export(tmp_path, "1")
    export(tmp_path, "2")
    model.poll()
    (tmp_path / "2/saved_model.pb").unlink()
    (tmp_path / "2").rmdir()
    model.poll()
    assert model.get() == (1, "loaded 1")
    model.poll()
    assert states(model) == {"1": "AVAILABLE"}, "what is neither served nor there is forgotten"


def test_what_is_served_stays_when_its_volume_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    export(folder, "1")
    model = Model("digits", folder, load)
    model.poll()
    folder.rename(tmp_path / "elsewhere")
    model.poll()
    assert model.get() == (1, "loaded 1")


def test_nothing_there(model: Model) -> None:
    model.poll()
    assert not model.ready
    with pytest.raises(Refusal, match=r"Servable not found for request: Latest\(digits\)"):
        model.get()
    with pytest.raises(Refusal, match="Could not find any versions of model digits"):
        model.status()
    with pytest.raises(Refusal, match="Could not find version 4 of model digits"):
        model.status(4)


def test_other_policies(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        export(tmp_path, name)
    two = Model("digits", tmp_path, load, latest(2))
    two.poll()
    assert states(two) == {"3": "AVAILABLE", "2": "AVAILABLE"} and two.get(2) == (2, "loaded 2")
    pinned = Model("digits", tmp_path, load, lambda numbers: {1} & set(numbers))
    pinned.poll()
    assert pinned.get() == (1, "loaded 1")
