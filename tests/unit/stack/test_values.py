"""Templates see the wish alone, and whatever differs in the wish shows in the digest."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import yaml
from shelf import Shelf, cluster, config_map, crd

from arena_install.errors import ConfigError, StepError
from arena_install.stack import artifacts_of, catalogue, wishes
from arena_install.stack.images import references
from arena_install.stack.values import SCHEMA, inputs_of, merge, values_of, wish_of


def test_values_come_from_the_config_and_the_users_own_lie_over_them(shelf: Shelf) -> None:
    shelf.add("net", values="cidr: {{ config.kubernetes.pod_cidr | yaml }}\nbackend: {type: vxlan, port: 1}\n")
    wish = cluster(kubernetes={"pod_cidr": "10.9.0.0/16"}, values={"net": {"backend": {"port": 2}, "cidr": None}})
    assert values_of(shelf.rows["net"], wish) == {"cidr": None, "backend": {"type": "vxlan", "port": 2}}


def test_merge_replaces_lists_and_keeps_nulls() -> None:
    base = {"a": {"b": [1, 2], "c": 1}, "d": 4}
    assert merge(base, {"a": {"b": [3]}, "d": None}) == {"a": {"b": [3], "c": 1}, "d": None}
    assert base == {"a": {"b": [1, 2], "c": 1}, "d": 4}


@pytest.mark.parametrize(
    ("template", "line", "text"),
    [
        ("a: 1\nb: {{ config.kubernetes.pod_cdir }}\n", ":2", "pod_cdir"),
        ("a: 1\n{% if %}\n", ":2", "Expected an expression"),
        ("a: [1\n", "rendered line", "expected ',' or ']'"),
    ],
)
def test_a_broken_template_is_named_with_its_line(shelf: Shelf, template: str, line: str, text: str) -> None:
    shelf.add("net", values=template)
    with pytest.raises(ConfigError) as caught:
        values_of(shelf.rows["net"], cluster())
    assert line in caught.value.where
    assert text in caught.value.why


def test_the_digest_follows_every_input(shelf: Shelf) -> None:
    def digest(**config: Any) -> str:
        return wish_of(shelf.rows["net"], cluster(**config), shelf.digest).digest

    row: dict[str, Any] = {"images": ["example.org/a:1"], "values": "cidr: {{ config.kubernetes.pod_cidr | yaml }}\n"}
    shelf.add("net", **row, ours="kind: X\nmetadata: {name: x}\n")
    first = digest()
    assert first == digest()
    digests = {first, digest(kubernetes={"pod_cidr": "10.9.0.0/16"}), digest(values={"net": {"x": 1}})}
    shelf.add("net", **row, namespace={"name": "net", "pod_security": "restricted"})
    digests.add(digest())
    shelf.add("net", **row, node_labels={"gpu": {"a": "b"}})
    digests.add(digest())
    shelf.add("net", [config_map("net", "other")], **row)
    digests.add(digest())
    shelf.add("net", **row, crds=[crd("net.test", "Job")])
    digests.add(digest())
    assert len(digests) == 7


def test_an_image_made_otherwise_under_the_same_tag_counts_and_words_do_not(shelf: Shelf) -> None:
    shelf.add("net", images=["example.org/a:1"])

    def digest(recipe: str) -> str:
        return wish_of(shelf.rows["net"], cluster(), lambda name: recipe if name == "example.org/a:1" else "").digest

    first = digest("one")
    assert digest("two") != first
    shelf.add("net", images=["example.org/a:1"], title="Another title")
    (shelf.folder / "components/net/README.md").write_text("words")
    assert digest("one") == first


def test_a_wish_needs_no_artifact(shelf: Shelf) -> None:
    """What the plan compares is known with an empty cache: an artifact is named by how it is made."""
    shelf.add("net", crds=[crd("net.test", "Job")])
    before = wishes(cluster(), ["net"], lambda name: f"digest of {name}", rows=shelf.rows)
    shutil.rmtree(shelf.folder / "artifacts")
    assert wishes(cluster(), ["net"], lambda name: f"digest of {name}", rows=shelf.rows) == before


def test_a_lost_or_broken_artifact_is_an_error_with_its_path(shelf: Shelf) -> None:
    shelf.add("net")
    wish = wish_of(shelf.rows["net"], cluster(), shelf.digest)
    assert inputs_of(wish, shelf).chart_version == "1.0.0"
    shelf.chart("net").write_bytes(b"not a chart")
    with pytest.raises(StepError, match="no packed chart"):
        inputs_of(wish, shelf)
    shelf.chart("net").unlink()
    with pytest.raises(StepError, match="not in the cache"):
        inputs_of(wish, shelf)


def test_values_for_what_is_no_component_are_refused(shelf: Shelf) -> None:
    shelf.add("net")
    with pytest.raises(ConfigError, match="values are given for 'nett'"):
        wishes(cluster(values={"nett": {}}), ["net"], shelf.digest, rows=shelf.rows)


@pytest.mark.parametrize("name", list(catalogue()))
def test_what_ships_renders_to_values_with_none_but_its_own_images(name: str) -> None:
    row = catalogue()[name]
    assert set(references(values_of(row, cluster()))) <= set(row.images)


def test_pytorch_workers_wait_with_a_template_that_the_operator_can_fill() -> None:
    values = values_of(catalogue()["training-operator"], cluster(kubernetes={"cluster_domain": "x.org"}))
    text = values["extra"][0]["data"]["initContainer.yaml"]
    for key, value in {"InitContainerImage": "busybox:1", "MaxTries": "3", "MasterAddr": "job-master-0"}.items():
        text = text.replace("{{." + key + "}}", value)
    assert "{{" not in text
    (container,) = yaml.safe_load(text)
    assert container["command"][-1] == "job-master-0"
    assert 'nslookup -type=a "$0.$POD_NAMESPACE.svc.x.org."' in container["command"][2]
    assert "-lt 3 ]" in container["command"][2]


@pytest.mark.parametrize(
    ("component", "own", "what", "fix"),
    [
        ("mpi-operator", {"replicas": 2}, "values.mpi-operator: Additional properties", "drop, extra, objects, pods"),
        ("mpi-operator", {"pods": {"mpi-operator": {}}}, "values.mpi-operator.pods", "README.md"),
        ("appwrapper", {"extra": [{"kind": "X"}]}, "values.appwrapper.extra[0]: 'apiVersion'", "README.md"),
        ("kueue", {"managerConfig": {"controllerManagerConfigYaml": {"a": 1}}}, "ConfigYaml: {'a': 1} is not", ""),
        ("kueue", {"controllerManager": {"replicas": "two"}}, "kueue.controllerManager.replicas", "README.md"),
        ("kueue", {"controlerManager": {}}, "'controlerManager' was unexpected", "known here: certManager, cont"),
        ("volcano", {"custom": {"colocation_enable": True}}, "colocation_enable: False was expected", "README.md"),
        ("dashboard", {"service": {"type": "Ingress"}}, "dashboard.service.type: 'Ingress' is not", "README"),
        ("dashboard", {"service": {"nodePort": 80}}, "values.dashboard.service.nodePort: 80 is not valid", "README.md"),
        ("dashboard", {"links": [{"title": "x", "url": "javascript:1"}]}, "values.dashboard.links[0].url", "README.md"),
        ("dashboard", {"tls": {"secret": "x"}}, "values.dashboard.tls: Additional", "addresses, names, secretName"),
        ("jobset", {"controller": {"replicas": 0}}, "replicas: 0 is less than the minimum of 1", "README.md"),
    ],
)
def test_a_wrong_value_is_named_with_its_path_before_anything_is_made(
    component: str, own: dict[str, Any], what: str, fix: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        values_of(catalogue()[component], cluster(values={component: own}))
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", [name for name, row in catalogue().items() if (row.folder / SCHEMA).is_file()])
def test_what_we_set_ourselves_is_right_by_the_components_schema(name: str) -> None:
    """A schema that our own values break would refuse right ones of users too."""
    component = catalogue()[name]
    ours = values_of(component, cluster())
    assert values_of(component, cluster(values={name: ours})) == ours


def test_what_is_chosen_decides_which_image_runs(shelf: Shelf) -> None:
    row: dict[str, Any] = {
        "images": ["e.io/always:1"],
        "choices": {"kind": {"a": ["e.io/a:1"], "b": ["e.io/b:1"]}},
        "values": "kind: {{ 'a' if cluster.rehearsal else 'b' }}\n",
    }
    shelf.add("net", **row)
    simulated = {"driver": "simulated"}
    assert artifacts_of(["net"], cluster(gpu=simulated), shelf.rows) == {"helm", "net", "e.io/always:1", "e.io/a:1"}
    assert artifacts_of(["net"], cluster(), shelf.rows) == {"helm", "net", "e.io/always:1", "e.io/b:1"}
    asked: list[str] = []
    wish_of(shelf.rows["net"], cluster(values={"net": {"kind": "a"}}), lambda name: (asked.append(name), name)[1])
    assert asked == ["e.io/a:1", "e.io/always:1", "net"]
    with pytest.raises(ConfigError, match="'c' is not one of a, b"):
        artifacts_of(["net"], cluster(values={"net": {"kind": "c"}}), shelf.rows)


def test_real_gpus_are_watched_by_nvidias_exporter_and_simulated_ones_by_ours() -> None:
    def image(**gpu: Any) -> set[str]:
        found = artifacts_of(["gpu-exporter"], cluster(gpu=gpu))
        return {name for name in found if "exporter" in name and ":" in name}

    assert image(driver="simulated") == {"arena-install.local/gpu-exporter:1.0"}
    assert image(driver="packages") == {"nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04"}


def test_controllers_ask_for_little_where_gpus_are_simulated() -> None:
    def asked(**gpu: Any) -> Any:
        values = values_of(catalogue()["mpi-operator"], cluster(gpu=gpu))
        return values["pods"]["Deployment/mpi-operator"]["containers"]["mpi-operator"]["resources"]["requests"]["cpu"]

    assert (asked(driver="simulated"), asked(driver="preinstalled")) == ("20m", "100m")
    assert "resources" not in values_of(catalogue()["kueue"], cluster())["controllerManager"]["manager"]
