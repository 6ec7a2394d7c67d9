"""The order of components, and errors that name the line to mend."""

from __future__ import annotations

import pytest
from shelf import Shelf, cluster

from arena_install.errors import ConfigError
from arena_install.stack import artifacts_of, catalogue, needed


def row_of(shelf: Shelf, name: str) -> str:
    return str(shelf.folder / "components" / name / "component.yaml")


def test_needs_come_first_and_the_rest_is_alphabetical(shelf: Shelf) -> None:
    shelf.add("a", needs=["z"])
    shelf.add("b")
    shelf.add("z", needs=["y"])
    shelf.add("y")
    assert needed("minimal", rows=shelf.rows) == ("y", "z", "a", "b")


def test_only_brings_what_is_needed_and_skip_leaves_out(shelf: Shelf) -> None:
    shelf.add("net")
    shelf.add("jobs", needs=["net"])
    shelf.add("big", profiles=["full"])
    rows = shelf.rows
    assert needed("minimal", rows=rows) == ("net", "jobs")
    assert needed("full", rows=rows) == ("big", "net", "jobs")
    assert needed("minimal", only=["jobs"], rows=rows) == ("net", "jobs")
    assert needed("minimal", skip=["jobs"], rows=rows) == ("net",)


def test_skipping_what_another_needs_is_refused(shelf: Shelf) -> None:
    shelf.add("net")
    shelf.add("jobs", needs=["net"])
    with pytest.raises(ConfigError) as caught:
        needed("minimal", skip=["net"], rows=shelf.rows)
    assert caught.value.what == "jobs needs net, which is skipped"
    assert "--skip jobs" in caught.value.fix


def test_unknown_names_get_a_suggestion(shelf: Shelf) -> None:
    shelf.add("flannel")
    with pytest.raises(ConfigError) as caught:
        needed("minimal", only=["flanel"], rows=shelf.rows)
    assert caught.value.where == "--only"
    assert caught.value.fix == "did you mean 'flannel'?"


def test_a_need_that_is_no_component_is_an_error_with_its_line(shelf: Shelf) -> None:
    shelf.add("jobs", needs=["net"])
    with pytest.raises(ConfigError) as caught:
        _ = shelf.rows
    line = (shelf.folder / "components/jobs/component.yaml").read_text().splitlines().index("- net") + 1
    assert caught.value.where == f"{row_of(shelf, 'jobs')}:{line}"


def test_a_cycle_is_spelled_out(shelf: Shelf) -> None:
    shelf.add("a", needs=["b"])
    shelf.add("b", needs=["c"])
    shelf.add("c", needs=["a"])
    with pytest.raises(ConfigError) as caught:
        _ = shelf.rows
    assert caught.value.why == "a -> b -> c -> a"
    assert caught.value.where.startswith(row_of(shelf, "c") + ":")


def test_a_row_with_an_unknown_key_or_another_name_is_an_error(shelf: Shelf) -> None:
    shelf.add("a", colour="red")
    with pytest.raises(ConfigError, match="colour"):
        _ = shelf.rows
    shelf.add("a")
    row = shelf.folder / "components/a/component.yaml"
    row.write_text(row.read_text().replace("name: a", "name: b", 1))
    with pytest.raises(ConfigError, match="called 'b'"):
        _ = shelf.rows


def test_what_ships_is_a_sound_graph() -> None:
    names = needed("minimal")
    assert names[0] == "flannel"
    assert names.index("node-feature-discovery") < names.index("nvidia-device-plugin")
    for row in catalogue().values():
        assert (row.folder / "README.md").is_file(), f"{row.name} has no page"
        assert (row.folder / "values.yaml.j2").is_file(), f"{row.name} has no values"


def test_artifacts_of_names_images_charts_and_files() -> None:
    found = artifacts_of(["nvidia-device-plugin"], cluster())
    assert {"helm", "nvidia-device-plugin", "nvcr.io/nvidia/k8s-device-plugin:v0.19.0"} <= found
    assert {"flannel", "node-feature-discovery-crds"} <= found, "what it needs is needed too"
    assert "training-operator" not in found
