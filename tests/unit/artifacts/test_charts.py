"""Charts are the same bytes every time, and CRDs come apart from them."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from arena_install.artifacts.charts import (
    PackedChart,
    crds_in,
    dump_stream,
    load_stream,
    pack_chart,
    wrap_kustomize,
    wrap_objects,
)
from arena_install.errors import ConfigError, StepError

KUBECTL = Path(sys.executable).parent / "kubectl"
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.b.c"}}


def content(chart: PackedChart) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(chart.tgz)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def a_chart(folder: Path) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "crds").mkdir()
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: net\nversion: 0.1.0\n")
    (folder / "templates/a.yaml").write_text("kind: A\n")
    (folder / "crds/crds.yaml").write_text(yaml.safe_dump(CRD))
    return folder


def test_a_folder_packs_to_the_same_bytes_whatever_its_times_and_leftovers(tmp_path: Path) -> None:
    first = pack_chart(a_chart(tmp_path / "one"))
    other = a_chart(tmp_path / "two")
    os.utime(other / "Chart.yaml", (1, 1))
    (other / "templates/a.yaml").chmod(0o600)
    (other / "templates/a.yaml.swp").write_text("leftover")
    assert pack_chart(other) == first
    assert sorted(content(first)) == ["net/Chart.yaml", "net/crds/crds.yaml", "net/templates/a.yaml"]
    assert load_stream(first.crds) == [CRD]


def test_a_version_given_replaces_the_folders(tmp_path: Path) -> None:
    chart = pack_chart(a_chart(tmp_path / "net"), version="v1.2.3")
    assert chart.version == "1.2.3"
    assert yaml.safe_load(content(chart)["net/Chart.yaml"])["version"] == "1.2.3"


def test_a_folder_that_is_no_chart_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Helm chart"):
        pack_chart(tmp_path)
    (tmp_path / "Chart.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        pack_chart(tmp_path)
    (tmp_path / "Chart.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match="names no chart"):
        pack_chart(tmp_path)


def test_files_can_be_left_out_and_crds_be_elsewhere(tmp_path: Path) -> None:
    folder = a_chart(tmp_path / "net")
    (folder / "templates/crd").mkdir()
    (folder / "templates/crd/as.yaml").write_text("{{ no YAML }}")
    other = {**CRD, "metadata": {"name": "ds.b.c"}}
    chart = pack_chart(folder, drop=["templates/crd/*"], crds=[other])
    assert sorted(content(chart)) == ["net/Chart.yaml", "net/crds/crds.yaml", "net/templates/a.yaml"]
    assert load_stream(chart.crds) == [other, CRD]
    with pytest.raises(ConfigError, match="no file that is to be dropped") as caught:
        pack_chart(folder, drop=["templates/crds/*"])
    assert "templates/crds/*" in caught.value.why


def test_crds_of_a_folder_are_found_among_other_things(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([CRD, {"kind": "ConfigMap"}, None]))
    (tmp_path / "b.txt").write_text("{")
    assert crds_in(tmp_path, kubectl=KUBECTL) == [CRD]
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(ConfigError, match="holds no CRDs"):
        crds_in(tmp_path, kubectl=KUBECTL)


@pytest.mark.skipif(not KUBECTL.is_file(), reason="no kubectl beside this Python")
def test_a_kustomization_is_built_for_its_crds(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([CRD, {"kind": "X", "metadata": {"name": "x"}}]))
    (tmp_path / "kustomization.yaml").write_text("labels: [{pairs: {a: b}}]\nresources: [all.yaml]\n")
    (found,) = crds_in(tmp_path, kubectl=KUBECTL)
    assert found["metadata"] == {"name": "as.b.c", "labels": {"a": "b"}}


@pytest.mark.skipif(not KUBECTL.is_file(), reason="no kubectl beside this Python")
def test_a_kustomization_becomes_a_chart_without_its_namespace_and_crds(tmp_path: Path) -> None:
    # A folder called like a host: kubectl would take its path for a URL.
    folder = tmp_path / "github.com/a/b@v1"
    folder.mkdir(parents=True)
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"text": "{{ not a template }}"}},
        CRD,
        {**CRD, "metadata": {"name": "gone.b.c"}},
    ]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(objects))
    (folder / "kustomization.yaml").write_text("namespace: home\nresources: [all.yaml]\n")
    chart = wrap_kustomize(folder, "a", "v1.0.0", kubectl=KUBECTL, drop_crds=["gone.b.c"])
    assert [row["metadata"]["name"] for row in load_stream(chart.crds)] == ["as.b.c"]
    (left,) = json.loads(content(chart)["a/objects.json"])
    assert (left["kind"], left["metadata"]["namespace"]) == ("ConfigMap", "home")
    assert b"{{ not a template }}" not in content(chart)["a/templates/objects.yaml"]

    (folder / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(StepError, match="does not build") as caught:
        wrap_kustomize(folder, "a", "v1.0.0", kubectl=KUBECTL)
    assert "nothing.yaml" in caught.value.why


def test_a_stream_reads_back_and_so_does_anybodys_yaml() -> None:
    objects = [{"a": 1, "text": "x\n---\ny"}, {"b": [1, {"c": None}]}]
    assert load_stream(dump_stream(objects)) == objects
    assert list(yaml.safe_load_all(dump_stream(objects))) == objects
    assert load_stream(b"---\na: 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    assert load_stream(b"") == []


def test_wrapping_is_reproducible() -> None:
    objects = [{"kind": "A", "metadata": {"name": "a"}}]
    assert wrap_objects(objects, "a", "1.0.0") == wrap_objects(objects, "a", "1.0.0")
