"""What the charts of this machine's artifacts render to, with the real Helm. Skipped where no artifacts were made."""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shelf import Shelf, cluster, config_map

from apiserver_fixture import artifacts_here
from arena_install.artifacts import Resolved
from arena_install.artifacts.charts import load_stream
from arena_install.stack import artifacts_of, catalogue, needed, rendered_images
from arena_install.stack.graph import order
from arena_install.stack.images import references, render

#: Of the two GPU exporters, the one that can be built.
SIMULATED = {"driver": "simulated"}

#: What must be elsewhere: a Role that is there in every cluster, and only there, is bound to the visibility server.
ELSEWHERE = {("kueue", "RoleBinding", "kube-system")}


@pytest.fixture(scope="module", params=["minimal", "full"])
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def resolved(profile: str) -> Resolved:
    found = artifacts_here(artifacts_of(needed(profile), cluster(gpu=SIMULATED)))
    if found is None:
        pytest.skip(f"no artifacts of profile {profile} on this machine: make them first (`arena-install up`)")
    return found


def test_every_image_is_in_the_lock_and_in_its_components_row(resolved: Resolved, profile: str) -> None:
    for name in needed(profile):
        found = rendered_images(cluster(gpu=SIMULATED), resolved, [name])
        known = {image for need in order([name], catalogue()) for image in catalogue()[need].all_images}
        assert found <= known, f"{name} renders images that its row does not name"
        assert found <= set(resolved.images)


def test_every_object_has_its_components_namespace_and_pods_say_what_they_may(resolved: Resolved, profile: str) -> None:
    for name, objects in render(cluster(gpu=SIMULATED), resolved, needed(profile)).items():
        home = catalogue()[name].namespace.name
        assert objects, f"{name} renders to nothing"
        for obj in objects:
            space = obj["metadata"].get("namespace", home)
            assert space == home or (name, obj["kind"], space) in ELSEWHERE, f"{name}: {obj['kind']} is elsewhere"
            assert obj["kind"] not in ("Namespace", "CustomResourceDefinition"), "the stack makes these"


def test_a_row_claims_each_crd_that_it_brings(resolved: Resolved, profile: str) -> None:
    for name in needed(profile):
        if rows := catalogue()[name].crds:
            brought = [row["metadata"]["name"] for row in load_stream(resolved.file(rows.file).read_bytes())]
            assert [crd for crd in brought if not any(fnmatch(crd, claim) for claim in rows.claims)] == [], name


def test_flannel_is_told_the_clusters_pod_network(resolved: Resolved) -> None:
    objects = render(cluster(kubernetes={"pod_cidr": "10.77.0.0/16"}), resolved, ["flannel"])["flannel"]
    (settings,) = (obj for obj in objects if obj["kind"] == "ConfigMap")
    assert json.loads(settings["data"]["net-conf.json"])["Network"] == "10.77.0.0/16"


def test_kueue_leaves_the_platforms_own_pods_alone(resolved: Resolved, profile: str) -> None:
    """Its webhooks are asked about every pod: where it does not answer, what it needs itself must still start."""
    if profile != "full":
        pytest.skip("not in profile minimal")
    objects = render(cluster(), resolved, ["kueue"])["kueue"]
    hooks = [hook for obj in objects if obj["kind"].endswith("WebhookConfiguration") for hook in obj["webhooks"]]
    kinds = {"pods", "deployments", "statefulsets", "jobs"}
    wide = [hook for hook in hooks if kinds & set(hook["rules"][0]["resources"])]
    assert len(wide) >= 6
    for hook in wide:
        rules = {row["key"]: row for row in hook["namespaceSelector"]["matchExpressions"]}
        assert rules["arena-install.local/component"]["operator"] == "DoesNotExist", hook["name"]
        assert {"kube-system", "kueue-system"} <= set(rules["kubernetes.io/metadata.name"]["values"])


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
