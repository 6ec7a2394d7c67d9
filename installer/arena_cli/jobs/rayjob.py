"""A RayJob. The stack has no KubeRay: where the cluster lacks it too, submitting is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given
from arena_cli.jobs import values as made
from arena_cli.jobs.rows import SHM, TTL, training
from arena_install.errors import ConfigError

FLAGS = training(
    Flag("worker-replicas", "number", "Workers of the Ray cluster.", required=True),
    Flag("worker-min-replicas", "number", "Fewest workers, when it scales."),
    Flag("worker-max-replicas", "number", "Most workers, when it scales (default: --worker-replicas)."),
    Flag("workers", "number", "", 1, refused="a Ray cluster's workers are --worker-replicas"),
    Flag("worker-num-of-hosts", "number", "Hosts of each worker.", 1),
    Flag("worker-image", "text", "Image of the workers."),
    Flag("worker-cpu", "text", "CPUs of a worker."),
    Flag("worker-memory", "text", "Memory of a worker."),
    Flag("worker-gpu", "number", "GPUs of a worker."),
    Flag("head-image", "text", "Image of the head."),
    Flag("head-cpu", "text", "CPUs of the head."),
    Flag("head-memory", "text", "Memory of the head."),
    Flag("head-gpu", "number", "GPUs of the head."),
    Flag(
        "head-service-type",
        "text",
        "Type of the head's Service.",
        "ClusterIP",
        choices=("ClusterIP", "NodePort", "LoadBalancer"),
    ),
    Flag("ray-version", "text", "Version of Ray in the image."),
    Flag("shutdown-after-finished", "switch", "End the Ray cluster with the job.", True),
    replace(TTL, old=()),
    Flag("active-deadline-seconds", "time", "End the job when it has run so long."),
    Flag("suspend", "switch", "Make it, and let it wait."),
    replace(SHM, default=""),
    Flag("pre-stop-command", "text", "What a Ray pod runs before it stops.", "ray stop"),
    Flag("enable-autoscaling", "switch", "Let Ray scale its workers."),
    Flag("autoscaler-cpu", "text", "CPUs of the autoscaler.", "500m"),
    Flag("autoscaler-memory", "text", "Memory of the autoscaler.", "512Mi"),
    Flag("autoscaler-image", "text", "Image of the autoscaler."),
    Flag(
        "autoscaler-image-pull-policy",
        "text",
        "When that is pulled.",
        "IfNotPresent",
        choices=("Always", "IfNotPresent", "Never"),
    ),
    Flag("autoscaler-idle-timeout-seconds", "number", "When an idle worker goes.", 60),
    Flag(
        "autoscaler-upscaling-mode",
        "text",
        "How fast it grows.",
        "Default",
        choices=("Default", "Aggressive", "Conservative"),
    ),
)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    replicas = fields.at_least("--worker-replicas", given.number("worker-replicas"), 1)
    least = fields.at_least("--worker-min-replicas", given.number("worker-min-replicas"))
    most = fields.at_least("--worker-max-replicas", given.number("worker-max-replicas")) or replicas
    if not least <= replicas <= most:
        raise ConfigError(
            f"--worker-replicas {replicas} is not between {least} and {most}",
            why="the bounds are --worker-min-replicas and --worker-max-replicas",
        )
    hosts = fields.at_least("--worker-num-of-hosts", given.number("worker-num-of-hosts"), 1)
    head_gpus, gpus = given.number("head-gpu"), given.number("worker-gpu") or given.number("gpus")
    roles = {"Head": _role(given, "head", 1, head_gpus), "Worker": _role(given, "worker", replicas, gpus)}
    job = made.job(given, roles, gpus=head_gpus + gpus * replicas * hosts, writer="Head", pull_secrets=pull_secrets)
    job["env"] = {**job["env"], "workers": str(replicas), "gpus": str(gpus)}
    if given.seconds("active-deadline-seconds"):
        job["runPolicy"] = {
            **job.get("runPolicy", {}),
            "activeDeadlineSeconds": given.seconds("active-deadline-seconds"),
        }
    found: Object = {
        "job": job,
        "entrypoint": made.command_of(given),
        "suspend": given.on("suspend"),
        "shutdownAfterFinished": given.on("shutdown-after-finished"),
        "rayVersion": given.text("ray-version"),
        "headServiceType": given.text("head-service-type"),
        "preStop": given.text("pre-stop-command"),
        "worker": {"minReplicas": least, "maxReplicas": most, "numOfHosts": hosts},
        "autoscaler": _autoscaler(given) if given.on("enable-autoscaling") else {},
    }
    return {key: value for key, value in found.items() if value not in ("", {})}


def _role(given: Given, role: str, replicas: int, gpus: int) -> Object:
    resources = made.resources(
        cpu=fields.cpu(f"--{role}-cpu", given.text(f"{role}-cpu")),
        memory=fields.memory(f"--{role}-memory", given.text(f"{role}-memory")),
        gpus=fields.at_least(f"--{role}-gpu", gpus, 0, 1024),
        devices=fields.devices(given.many("device"), gpus) if role == "worker" else {},
    )
    image = made.image_of(given, f"{role}-image", given.text("image"))
    return made.role(replicas, image, "", resources=resources, noGpu=not gpus)


def _autoscaler(given: Given) -> Object:
    limits = {
        "cpu": fields.cpu("--autoscaler-cpu", given.text("autoscaler-cpu")),
        "memory": fields.memory("--autoscaler-memory", given.text("autoscaler-memory")),
    }
    image = given.text("autoscaler-image")
    return {
        "idleTimeoutSeconds": given.number("autoscaler-idle-timeout-seconds"),
        "upscalingMode": given.text("autoscaler-upscaling-mode"),
        "imagePullPolicy": given.text("autoscaler-image-pull-policy"),
        "resources": {"requests": limits, "limits": limits},
        **({"image": fields.image("--autoscaler-image", image)} if image else {}),
    }
