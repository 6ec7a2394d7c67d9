"""The ConfigMap that arena, ours and upstream's, keeps of each job: its name is the only register of jobs there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arena_cli.fields import Object

LABEL = "createdBy=arena"

_INFO = {
    ("apps", "Deployment"): "deployment.apps",
    ("batch", "Job"): "job.batch",
    ("batch", "CronJob"): "cronjob.batch",
}


def name(job: str, type_: str) -> str:
    return f"{job}-{type_}"


def info(obj: Mapping[str, Any]) -> str:
    """An object as `kubectl -o name` has it: pytorchjob.kubeflow.org/x, service/x."""
    group, slash, _ = str(obj["apiVersion"]).partition("/")
    kind = str(obj["kind"]).lower()
    return f"{kind}.{group}/{obj['metadata']['name']}" if slash else f"{kind}/{obj['metadata']['name']}"


def config_map(
    job: str, type_: str, namespace: str, chart: str, version: str, values: str, objects: Iterable[Object]
) -> Object:
    """values: the chart's, as YAML. Keys and the label are upstream's. Claims come last: upstream's delete waits for
    each object in turn, and a claim goes when no pod uses it any more."""
    objects = sorted(objects, key=lambda obj: obj["kind"] == "PersistentVolumeClaim")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name(job, type_), "namespace": namespace, "labels": {"createdBy": "arena"}},
        "data": {"values": values, "app": "\n".join(info(obj) for obj in objects), chart: version},
    }


def owner(obj: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
