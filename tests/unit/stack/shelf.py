"""Small components of our own on a real API server, and a wished-for cluster to install them on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from apiserver_fixture import binary
from arena_install.artifacts.charts import dump_stream, wrap_objects
from arena_install.events import Event
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.stack.graph import Catalogue, catalogue


def cluster(**config: Any) -> Cluster:
    host = Host("hollow", frozenset({"control_plane", "worker", "gpu"}), "10.0.0.1", "10.0.0.1")
    return Cluster("stack-test", (host,), Config(**config), None)


@dataclass
class Shelf:
    """A folder of components and their artifacts, shaped like a catalogue and a resolved lock."""

    folder: Path
    events: list[Event] = field(default_factory=list)

    def program(self, name: str) -> Path:
        found = binary(name)
        if found is None:
            pytest.skip(f"no {name}: set ARENA_TEST_BINARIES, or make artifacts first (`arena-install up`)")
        return found

    def file(self, name: str) -> Path:
        return self.folder / "artifacts" / name

    def chart(self, name: str) -> Path:
        return self.folder / "artifacts" / f"{name}.tgz"

    def digest(self, name: str) -> str:
        """As the lock's: stands for the bytes of an artifact; an image's is its name's."""
        paths = [path for path in (self.chart(name), self.file(name)) if path.is_file()]
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths) or name.encode()).hexdigest()

    @property
    def rows(self) -> Catalogue:
        catalogue.cache_clear()
        return catalogue(self.folder / "components")

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    def add(
        self,
        name: str,
        objects: Sequence[Mapping[str, Any]] = (),
        *,
        values: str = "",
        ours: str = "",
        crds: Sequence[Mapping[str, Any]] = (),
        makes: Mapping[str, Sequence[str]] | None = None,
        **row: Any,
    ) -> None:
        """Put a component there; its namespace has its name unless the row says otherwise."""
        home = self.folder / "components" / name
        home.mkdir(parents=True, exist_ok=True)
        (self.folder / "artifacts").mkdir(exist_ok=True)
        full: dict[str, Any] = {
            "name": name, "title": name.title(), "gives": "nothing", "images": [], "chart": name,
            "namespace": {"name": name, "pod_security": "baseline"}, "timeout": {"base": 20, "per_node": 0}, **row,
        }
        packed = wrap_objects(objects or [config_map(name, "settings")], name, "1.0.0", crds=crds)
        self.chart(name).write_bytes(packed.tgz)
        if crds:
            full["crds"] = {
                "file": f"{name}-crds",
                "claims": [row["metadata"]["name"] for row in crds],
                "makes": {crd: list(made) for crd, made in (makes or {}).items()},
            }
            self.file(f"{name}-crds").write_bytes(dump_stream(crds))
        (home / "component.yaml").write_text(yaml.safe_dump(full, sort_keys=False))
        (home / "values.yaml.j2").write_text(values)
        if ours:
            (home / "objects.yaml.j2").write_text(ours)

    def steps(self) -> dict[str, str]:
        """component -> how its last step ended."""
        return {event.step.removeprefix("component/"): event.outcome for event in self.events if event.kind == "end"}


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"a": "1"}}


def deployment(namespace: str, name: str, image: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    }


def crd(group: str, kind: str, version: str = "v1") -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }
