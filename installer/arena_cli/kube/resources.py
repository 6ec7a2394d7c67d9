"""Paths of the kinds that charts render, and of what a ConfigMap's list of objects names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arena_cli.kube.client import at

#: kubectl's name of a kind -> (apiVersion, plural). Upstream's jobs may hold kinds that ours do not.
KNOWN = {
    "configmap": ("v1", "configmaps"),
    "secret": ("v1", "secrets"),
    "service": ("v1", "services"),
    "serviceaccount": ("v1", "serviceaccounts"),
    "persistentvolumeclaim": ("v1", "persistentvolumeclaims"),
    "pod": ("v1", "pods"),
    "deployment.apps": ("apps/v1", "deployments"),
    "statefulset.apps": ("apps/v1", "statefulsets"),
    "job.batch": ("batch/v1", "jobs"),
    "cronjob.batch": ("batch/v1", "cronjobs"),
    "ingress.networking.k8s.io": ("networking.k8s.io/v1", "ingresses"),
    "role.rbac.authorization.k8s.io": ("rbac.authorization.k8s.io/v1", "roles"),
    "rolebinding.rbac.authorization.k8s.io": ("rbac.authorization.k8s.io/v1", "rolebindings"),
    "poddisruptionbudget.policy": ("policy/v1", "poddisruptionbudgets"),
    "horizontalpodautoscaler.autoscaling": ("autoscaling/v2", "horizontalpodautoscalers"),
    "podgroup.scheduling.volcano.sh": ("scheduling.volcano.sh/v1beta1", "podgroups"),
    "tfjob.kubeflow.org": ("kubeflow.org/v1", "tfjobs"),
    "pytorchjob.kubeflow.org": ("kubeflow.org/v1", "pytorchjobs"),
    "mpijob.kubeflow.org": ("kubeflow.org/v2beta1", "mpijobs"),
    "job.batch.volcano.sh": ("batch.volcano.sh/v1alpha1", "jobs"),
    "appwrapper.workload.codeflare.dev": ("workload.codeflare.dev/v1beta2", "appwrappers"),
    "rayjob.ray.io": ("ray.io/v1", "rayjobs"),
    "sparkapplication.sparkoperator.k8s.io": ("sparkoperator.k8s.io/v1beta2", "sparkapplications"),
    "inferenceservice.serving.kserve.io": ("serving.kserve.io/v1beta1", "inferenceservices"),
    "leaderworkerset.leaderworkerset.x-k8s.io": ("leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
}


def key(obj: Mapping[str, Any]) -> str:
    group, slash, _ = str(obj["apiVersion"]).partition("/")
    kind = str(obj["kind"]).lower()
    return f"{kind}.{group}" if slash else kind


def collection(obj: Mapping[str, Any], namespace: str) -> str:
    return at(str(obj["apiVersion"]), KNOWN[key(obj)][1], namespace)


def path(obj: Mapping[str, Any], namespace: str) -> str:
    return at(str(obj["apiVersion"]), KNOWN[key(obj)][1], namespace, str(obj["metadata"]["name"]))


def named(info: str, namespace: str) -> str | None:
    """The path of "deployment.apps/x"; None for a kind that is not known here."""
    kind, _, name = info.strip().partition("/")
    found = KNOWN.get(kind.lower())
    return at(found[0], found[1], namespace, name) if found and name else None
