"""Conditions that a check can need beside other checks: what the cluster has, read once at the start of a run.

A condition that does not hold makes the check skip with the reason; whether that fails the run is the check's
`required`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena_install.users.notebook import HUB
from arena_install.verify import prometheus
from arena_install.verify.kube import Kube, namespaced

if TYPE_CHECKING:
    from arena_install.inventory.cluster import Cluster

GPU = "nvidia.com/gpu"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
PYTORCHJOB = "pytorchjobs.kubeflow.org"
TENSORFLOW = "arena-install.local/verify-tensorflow:"
SERVING = "arena-install.local/arena-serving:"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class Facts:
    """What is there. gpu_nodes: names of nodes that offer GPUs or belong to the inventory's group gpu."""

    gpu_nodes: tuple[str, ...]
    pytorchjobs: bool  # whether the API knows PyTorchJob
    default_storage: str  # name of the default StorageClass, "" if there is none
    lock: bool  # whether the resolved lock is at hand
    crds: frozenset[str] = frozenset()  # names of all CustomResourceDefinitions
    images: frozenset[str] = frozenset()  # references in the resolved lock
    prometheus: str = ""  # "namespace/name" of the Service by which arena finds one, "" if there is none
    jupyterhub: bool = False  # whether the component is there
    dashboard: bool = False  # whether the Service of our web pages is there


#: What is known of a cluster whose API did not answer.
UNKNOWN = Facts((), False, "", False)


def read(kube: Kube, cluster: Cluster, resolved: Any | None) -> Facts:
    """Raises UnreachableError when the API does not answer."""
    nodes = kube.items("/api/v1/nodes")
    wanted = {host.name for host in cluster.group("gpu")} | {
        host.node_ip for host in cluster.group("gpu") if host.node_ip
    }
    gpu_nodes = []
    for node in nodes:
        names = {node["metadata"]["name"], *(entry["address"] for entry in node["status"].get("addresses") or [])}
        if capacity(node) or names & wanted:
            gpu_nodes.append(node["metadata"]["name"])
    classes = kube.items("/apis/storage.k8s.io/v1/storageclasses")
    default = [
        c["metadata"]["name"] for c in classes if c["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"
    ]
    crds = frozenset(
        str(crd["metadata"]["name"]) for crd in kube.metadata("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    )
    return Facts(
        tuple(sorted(gpu_nodes)),
        PYTORCHJOB in crds,
        default[0] if default else "",
        resolved is not None,
        crds,
        frozenset(resolved.images) if resolved is not None else frozenset(),
        prometheus.service_of(kube),
        kube.find(namespaced("statefulsets", HUB, HUB, group="apps/v1")) is not None,
        kube.find(namespaced("services", "dashboard", "dashboard")) is not None,
    )


def capacity(node: dict[str, Any]) -> int:
    """GPUs that a node has, as the kubelet counts them."""
    return int(node["status"].get("capacity", {}).get(GPU, 0))


def allocatable(node: dict[str, Any]) -> int:
    """GPUs that a node lets pods have: the healthy ones."""
    return int(node["status"].get("allocatable", {}).get(GPU, 0))


_CONDITIONS: dict[str, tuple[Callable[[Facts], bool], str, str]] = {
    "fact:gpu": (
        lambda facts: bool(facts.gpu_nodes),
        "no node offers nvidia.com/gpu and the inventory has no host in group gpu",
        "add the GPU hosts to group [gpu] of the inventory, then arena-install up",
    ),
    "fact:lock": (
        lambda facts: facts.lock,
        "the resolved lock of this cluster is not on this machine",
        "run verify where `arena-install up` was run",
    ),
    "component:storage": (
        lambda facts: bool(facts.default_storage),
        "no StorageClass is the default",
        "arena-install up --only local-path-provisioner",
    ),
    "component:prometheus": (
        lambda facts: bool(facts.prometheus),
        f"no Service has the label by which arena looks for Prometheus ({prometheus.LABEL})",
        "arena-install up --profile full",
    ),
    "component:jupyterhub": (
        lambda facts: facts.jupyterhub,
        f"there is no JupyterHub in namespace {HUB}",
        "arena-install up --only jupyterhub",
    ),
    "component:dashboard": (
        lambda facts: facts.dashboard,
        "there is no Service dashboard in namespace dashboard",
        "arena-install up --profile full",
    ),
    "component:training-operator": (
        lambda facts: facts.pytorchjobs,
        "the API does not know PyTorchJob (CRD pytorchjobs.kubeflow.org is missing)",
        "arena-install up --only training-operator",
    ),
    "image:verify-tensorflow": (
        lambda facts: any(reference.startswith(TENSORFLOW) for reference in facts.images),
        "this cluster was set up without the image with TensorFlow, which only profile full has",
        "arena-install up --profile full",
    ),
    "image:arena-serving": (
        lambda facts: any(reference.startswith(SERVING) for reference in facts.images),
        "this cluster was set up without the image that serves TensorFlow's models, which only profile full has",
        "arena-install up --profile full",
    ),
} | {
    f"component:{name}": (
        lambda facts, crd=crd: crd in facts.crds,
        f"the API does not know {kind} (CRD {crd} is missing)",
        f"arena-install up --only {name}",
    )
    for name, kind, crd in (
        ("mpi-operator", "MPIJob", "mpijobs.kubeflow.org"),
        ("jobset", "JobSet", "jobsets.jobset.x-k8s.io"),
        ("kueue", "ClusterQueue", "clusterqueues.kueue.x-k8s.io"),
        ("appwrapper", "AppWrapper", "appwrappers.workload.codeflare.dev"),
        ("volcano", "Volcano's Job", "jobs.batch.volcano.sh"),
    )
}


def unmet(need: str, facts: Facts) -> tuple[str, str] | None:
    """(reason, fix) when a condition does not hold, None when it does. KeyError for a condition nobody knows."""
    if facts is UNKNOWN:
        return "the API did not answer when this run began", "arena-install verify, once more"
    holds, reason, fix = _CONDITIONS[need]
    return None if holds(facts) else (reason, fix)


def is_condition(need: str) -> bool:
    return need in _CONDITIONS
