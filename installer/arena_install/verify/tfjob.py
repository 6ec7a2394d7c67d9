"""TFJobs that checks run: what is asked for, and whether TF_CONFIG told each replica just that.

TF_CONFIG is all that a TensorFlow process knows of its job: who else there is, where, and which one it is itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arena_install.verify import pods
from arena_install.verify.checks import jobs
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object
from arena_install.verify.needs import GPU
from arena_install.verify.records import records

GROUP = "kubeflow.org/v1"
CONTROLLER = "kubeflow/training-operator"
CONTAINER = "tensorflow"  # the operator knows it by this name
PORT = 2222  # where the operator lets replicas listen
MEMORY = "2Gi"

_FIX = "kubectl -n kubeflow get deployment training-operator -o yaml shows what it was told; arena-install up mends it"


@dataclass(frozen=True)
class Job:
    """replicas: type ("Chief", "PS", "Worker") -> how many; workers get a GPU each. nodes: names of those that workers
    may run on. command: of every replica. claim: of the volume that the chief has at /checkpoint."""

    name: str
    command: Sequence[str]
    replicas: Mapping[str, int]
    nodes: Sequence[str]
    claim: str = ""
    success: str = ""  # successPolicy

    @property
    def world(self) -> int:
        return sum(self.replicas.values())

    def pods(self) -> dict[str, tuple[str, int]]:
        """Pod name -> (task type as TF_CONFIG writes it, index)."""
        return {
            f"{self.name}-{kind.lower()}-{index}": (kind.lower(), index)
            for kind, count in self.replicas.items()
            for index in range(count)
        }

    def workers(self) -> list[str]:
        return [pod for pod, (kind, _) in self.pods().items() if kind == "worker"]


def misled(job: Job, namespace: str, domain: str, pod: str, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the TF_CONFIG that a pod of this job was given. domain: the cluster's, which addresses may end
    with."""
    wanted: dict[str, list[str]] = {}
    for name, (kind, _) in job.pods().items():
        wanted.setdefault(kind, []).append(f"{name}.{namespace}.svc:{PORT}")
    cluster = given.get("cluster") or {}
    seen = {kind: [address.replace(f".{domain}:", ":") for address in rows] for kind, rows in cluster.items()}
    problems = [
        f"{pod}: TF_CONFIG says {kind} is {', '.join(cluster.get(kind) or ['nobody'])}, the job makes it "
        f"{', '.join(wanted.get(kind) or ['nobody'])}"
        for kind in sorted(wanted.keys() | seen.keys())
        if seen.get(kind) != wanted.get(kind)
    ]
    kind, index = job.pods()[pod]
    task = given.get("task") or {}
    if (task.get("type"), task.get("index")) != (kind, index):
        problems.append(f"{pod}: TF_CONFIG says it is {task.get('type')} {task.get('index')}, it is {kind} {index}")
    return problems


@dataclass
class Ended:
    """For jobs.finish(): says how a TFJob stands, and ends the wait for one whose replicas were told wrong addresses,
    for they would look for each other for ever. Raises CheckFailed."""

    ctx: Context
    job: Job
    namespace: str
    heard: set[str] = field(default_factory=set)

    def __call__(self, state: Object) -> str:
        if jobs.condition(state, "Succeeded"):
            return "done"
        if bad := jobs.condition(state, "Failed"):
            return str(bad.get("message") or "failed")
        for pod in pods.found(self.ctx, self.namespace):
            name = str(pod["metadata"]["name"])
            if name in self.heard or name not in self.job.pods():
                continue
            said = records(self.ctx.kube.logs(self.namespace, name), "tf_config")
            if said:
                self.heard.add(name)
                self._judge(name, said[0]["config"])
        return ""

    def _judge(self, name: str, given: Mapping[str, Any]) -> None:
        domain = self.ctx.cluster.config.kubernetes.cluster_domain
        if problems := misled(self.job, self.namespace, domain, name, given):
            self.ctx.save("tf_config.json", {name: given})
            raise CheckFailed("TF_CONFIG is not what the job's spec makes it", cause="\n".join(problems), fix=_FIX)


def manifest(ctx: Context, job: Job, payload: str) -> Object:
    """For the namespace "restricted". payload: the ConfigMap that is mounted at /payload."""
    policy: Object = {"cleanPodPolicy": "None", "backoffLimit": 0}  # logs are read when the job has ended
    return {
        "apiVersion": GROUP,
        "kind": "TFJob",
        "metadata": {"name": job.name, "labels": pods.own_labels(ctx)},
        "spec": {
            **({"successPolicy": job.success} if job.success else {}),
            "runPolicy": policy,
            "tfReplicaSpecs": {
                kind: {"replicas": count, "restartPolicy": "Never", "template": _replica(ctx, job, kind, payload)}
                for kind, count in job.replicas.items()
            },
        },
    }


def _replica(ctx: Context, job: Job, kind: str, payload: str) -> Object:
    worker = kind == "Worker"
    limits = {GPU: "1"} if worker else {}
    role = {"arena-install.local/replica": kind.lower()}
    template = jobs.template(
        ctx, CONTAINER, pods.TENSORFLOW, job.command, limits=limits, payload=payload, labels=role
    )  # fmt: skip
    spec = template["spec"]
    spec.pop("restartPolicy")  # the operator sets it
    container = spec["containers"][0]
    container["resources"]["limits"]["memory"] = MEMORY
    container["env"] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    if worker:
        host = "kubernetes.io/hostname"
        terms = [{"matchExpressions": [{"key": host, "operator": "In", "values": list(job.nodes)}]}]
        needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": needed}
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": host,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {**pods.own_labels(ctx), **role}},
            }
        ]
    if kind == "Chief" and job.claim:
        spec["volumes"].append({"name": "checkpoint", "persistentVolumeClaim": {"claimName": job.claim}})
        container["volumeMounts"].append({"name": "checkpoint", "mountPath": "/checkpoint"})
    return template
