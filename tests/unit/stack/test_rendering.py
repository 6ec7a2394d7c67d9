"""What the charts of this machine's artifacts render to, with the real Helm. Skipped where no artifacts were made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shelf import Shelf, cluster, config_map

from apiserver_fixture import artifacts_here
from arena_install.artifacts import Resolved
from arena_install.stack import artifacts_of, catalogue, needed, rendered_images
from arena_install.stack.images import references, render


@pytest.fixture(scope="module")
def resolved() -> Resolved:
    found = artifacts_here(artifacts_of(needed("minimal")))
    if found is None:
        pytest.skip("no artifacts on this machine: make them first (`arena-install up`)")
    return found


def test_every_image_is_in_the_lock_and_in_its_components_row(resolved: Resolved) -> None:
    for name in needed("minimal"):
        found = rendered_images(cluster(), resolved, [name])
        known = {image for need in (name, *catalogue()[name].needs) for image in catalogue()[need].images}
        assert found <= known, f"{name} renders images that its row does not name"
        assert found <= set(resolved.images)


def test_every_object_has_its_components_namespace_and_pods_say_what_they_may(resolved: Resolved) -> None:
    for name, objects in render(cluster(), resolved, needed("minimal")).items():
        home = catalogue()[name].namespace.name
        assert objects, f"{name} renders to nothing"
        for obj in objects:
            assert obj["metadata"].get("namespace", home) == home, f"{name}: {obj['kind']} is elsewhere"
            assert obj["kind"] not in ("Namespace", "CustomResourceDefinition"), "the stack makes these"


def test_flannel_is_told_the_clusters_pod_network(resolved: Resolved) -> None:
    objects = render(cluster(kubernetes={"pod_cidr": "10.77.0.0/16"}), resolved, ["flannel"])["flannel"]
    (settings,) = (obj for obj in objects if obj["kind"] == "ConfigMap")
    assert json.loads(settings["data"]["net-conf.json"])["Network"] == "10.77.0.0/16"


def test_references_are_found_wherever_they_hide() -> None:
    found = references(
        {
            "spec": {"containers": [{"image": "a.io/b:1", "args": ["--image=docker.io/library/c:2", "x"]}]},
            "data": {"pod.yaml": "spec:\n  image: d\n- image: e.io/f/g:3\n", "other": "see https://h.io/i:4 and j.io"},
        }
    )
    assert set(found) == {"a.io/b:1", "docker.io/library/c:2", "d", "e.io/f/g:3"}


def test_our_own_values_reach_a_wrapped_chart(shelf: Shelf) -> None:
    shelf.program("helm")
    shelf.add("net", [config_map("net", "a"), config_map("net", "b")], values='drop: [ConfigMap/a]\n')
    (only,) = render(cluster(), shelf, ["net"], shelf.rows)["net"]
    assert only["metadata"]["name"] == "b"
