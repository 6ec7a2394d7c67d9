"""Kinds of jobs as Kubernetes has them: what each is called, where its custom resource is. Light: `list` reads it."""

from __future__ import annotations

from dataclasses import dataclass

from arena_install.errors import ConfigError
from arena_install.suggest import did_you_mean


@dataclass(frozen=True)
class Kind:
    """type: as --type, in the ConfigMap's name and as label `app`. names: what else --type takes. operator: what must
    be in the cluster. needs: the component of arena-install that brings it, "" where none does."""

    type: str
    names: tuple[str, ...]
    api: str  # "kubeflow.org/v1"
    plural: str
    resource: str  # "PyTorchJob"
    operator: str
    needs: str = ""

    @property
    def path(self) -> str:
        return f"/apis/{self.api}"

    @property
    def info(self) -> str:
        """How `kubectl -o name` has the kind."""
        return f"{self.resource.lower()}.{self.api.partition('/')[0]}"


_TRAINING = ("the training operator", "training-operator")
_MPI = ("the MPI operator", "mpi-operator")

KINDS = (
    Kind("tfjob", ("tensorflow", "tf"), "kubeflow.org/v1", "tfjobs", "TFJob", *_TRAINING),
    Kind("pytorchjob", ("pytorch", "py"), "kubeflow.org/v1", "pytorchjobs", "PyTorchJob", *_TRAINING),
    Kind("mpijob", ("mpi",), "kubeflow.org/v2beta1", "mpijobs", "MPIJob", *_MPI),
    Kind("horovodjob", ("horovod",), "kubeflow.org/v2beta1", "mpijobs", "MPIJob", *_MPI),
    Kind("deepspeedjob", ("deepspeed", "dp"), "kubeflow.org/v2beta1", "mpijobs", "MPIJob", *_MPI),
    Kind("etjob", ("elastictraining", "et"), "kubeflow.org/v1", "pytorchjobs", "PyTorchJob", *_TRAINING),
    Kind("volcanojob", ("volcano",), "batch.volcano.sh/v1alpha1", "jobs", "Job", "Volcano", "volcano"),
    Kind(
        "appwrapperjob",
        ("appwrapper", "aw"),
        "workload.codeflare.dev/v1beta2",
        "appwrappers",
        "AppWrapper",
        "AppWrapper",
        "appwrapper",
    ),
    Kind("rayjob", ("ray", "rj"), "ray.io/v1", "rayjobs", "RayJob", "KubeRay"),
    Kind(
        "sparkjob",
        ("spark",),
        "sparkoperator.k8s.io/v1beta2",
        "sparkapplications",
        "SparkApplication",
        "the Spark operator",
    ),
)
BY_TYPE = {kind.type: kind for kind in KINDS}
_NAMES = {name: kind for kind in KINDS for name in (kind.type, *kind.names)}


def kind_of(text: str, flag: str = "--type") -> Kind:
    """The kind that --type means, by any of its names, in any case. Raises ConfigError."""
    found = _NAMES.get(text.lower())
    if found is None:
        raise ConfigError(f"{flag}: {text!r} is no kind of job", fix=did_you_mean(text.lower(), list(BY_TYPE)))
    return found
