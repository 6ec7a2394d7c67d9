"""What checks of serving share: a model server as `arena serve tensorflow` makes it, and what its client told.

The objects are those that the command prints with --dry-run; an ordinary user creates them. The command is run as
people run it, since this program does not lean on its code.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arena_install import fastyaml, paths
from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.records import records

MODEL = "digits"
CLAIM, FOLDER = "models", "/models"
MEMORY = "2Gi"  # of a process with TensorFlow, at most
_SECOND = "next"  # beside MODEL: the folder of the second model, as tf_export.py writes it
_KINDS = {"Deployment": ("deployments", "apps/v1"), "Service": ("services", ""), "ConfigMap": ("configmaps", "")}
_FIX = "see the servers' pods and logs in the evidence; arena serve get shows how such a job stands"


def level(ctx: Context) -> str:
    """The namespace, of the Pod Security level that users' namespaces have."""
    return ctx.session.workspaces.get("baseline")


def export(ctx: Context) -> list[dict[str, Any]]:
    """Train two models onto a new volume of the default StorageClass; gives what the pod told of each."""
    namespace = level(ctx)
    pods.claim(ctx, namespace, CLAIM, 64)
    pod = _with_models(ctx, "tf-export", ["python3", "/payload/tf_export.py", FOLDER])
    return records(pods.run_all(ctx, namespace, [pod], "pod that trains and exports done")["tf-export"], "exported")


def _with_models(ctx: Context, name: str, command: Sequence[str]) -> Object:
    source: Object = {"persistentVolumeClaim": {"claimName": CLAIM}}
    payload = ctx.session.workspaces.payload(level(ctx))
    pod = pods.manifest(ctx, name, pods.SERVING, command, payload=payload, volumes=[(source, FOLDER)])
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = MEMORY
    return pod


@dataclass(frozen=True)
class Server:
    """A serving job. name: of its Deployment and Service."""

    name: str
    namespace: str
    replicas: int
    deployment: Object


def dry_run(words: Sequence[str]) -> list[Object]:
    """The objects that `arena serve` makes of these words. Raises CheckFailed with what it said instead."""
    others = ("KUBE", "ARENA_", "PROMETHEUS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    environment |= {key: value for key, value in os.environ.items() if key.startswith(("ARENA_INSTALL_", "ARENA_HELM"))}
    environment |= {"ARENA_CONFIG": os.devnull, "ARENA_CHARTS": str(paths.data_dir() / "charts")}
    done = subprocess.run(
        [sys.executable, "-m", "arena_cli", "serve", *words, "--dry-run"],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(
            f"arena serve {words[0]} made nothing",
            cause=done.stderr.strip()[-800:],
            fix="arena serve tensorflow --help",
        )
    return [dict(row) for row in fastyaml.load_all(done.stdout) if row]


def model_words() -> list[str]:
    """For `served`: the first model of `export`."""
    words = ["--image", pods.SERVING, "--model-name", MODEL, "--model-path", f"{FOLDER}/{MODEL}"]
    return ["tensorflow", *words, "--data", f"{CLAIM}:{FOLDER}:ro", "--memory", MEMORY]


@contextlib.contextmanager
def served(ctx: Context, words: Sequence[str], replicas: int = 1) -> Iterator[Server]:
    """What `arena serve` makes of these words, which need not say how it is called, ready; removed at the end."""
    namespace = level(ctx)
    more = ["--name", ctx.label.replace(".", "-"), "--version", "v1", "--namespace", namespace]
    more += ["--replicas", str(replicas)]
    more += [word for key, value in pods.own_labels(ctx).items() for word in ("--label", f"{key}={value}")]
    objects = dry_run([words[0], *more, *words[1:]])
    ctx.save("served.yaml", objects)
    user = ctx.session.workspaces.user(namespace)
    deployment = next(obj for obj in objects if obj["kind"] == "Deployment")
    server = Server(str(deployment["metadata"]["name"]), namespace, replicas, deployment)
    try:
        for obj in objects:
            kind, group = _KINDS[obj["kind"]]
            user.create(namespaced(kind, namespace, group=group), obj)
        rolled_out(ctx, server)
        yield server
    finally:
        pods.capture(ctx, namespace)
        for obj in objects:
            kind, group = _KINDS[obj["kind"]]
            with contextlib.suppress(ArenaError):
                ctx.kube.delete(namespaced(kind, namespace, obj["metadata"]["name"], group=group))


def rolled_out(ctx: Context, server: Server) -> None:
    """Wait until all replicas are of the newest template and available, and no pod of an older one is left.

    Raises CheckFailed, with why, where that does not happen."""
    path = namespaced("deployments", server.namespace, server.name, group="apps/v1")
    since: dict[str, float] = {}

    def look() -> bool | None:
        state = ctx.kube.get(path)
        there = replicas_of(ctx, server)
        status, wanted = state.get("status") or {}, server.replicas
        ready = [status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
        seen = status.get("observedGeneration") == state["metadata"]["generation"]
        if seen and ready == [wanted] * 3 and len(there) == wanted:
            return True
        for pod in there:
            if not pod["metadata"].get("deletionTimestamp"):
                pods.judge(ctx, pod, since)
        ctx.progress(f"{status.get('availableReplicas') or 0} of {wanted} servers ready, {len(there)} pods")
        return None

    try:
        ctx.wait(look, f"{server.replicas} servers to be ready")
    except TimedOutError as error:
        raise CheckFailed(error.what, cause=_last_word(ctx, server), fix=_FIX) from error


def replicas_of(ctx: Context, server: Server) -> list[Object]:
    selector = ",".join(f"{key}={value}" for key, value in server.deployment["spec"]["selector"]["matchLabels"].items())
    return ctx.kube.items(namespaced("pods", server.namespace), labelSelector=selector)


def _last_word(ctx: Context, server: Server) -> str:
    for pod in replicas_of(ctx, server):
        lines = ctx.kube.logs(server.namespace, pod["metadata"]["name"], tail=1).strip().splitlines()
        if lines and not pods.running(pod):
            return f"{pod['metadata']['name']}: {lines[-1]}"
    return "its pods' readiness probes are not answered"


def to_second_model(ctx: Context, server: Server) -> None:
    """As the user: a new template, whose servers serve the second model; the rollout begins."""
    path = namespaced("deployments", server.namespace, server.name, group="apps/v1")
    containers = [dict(one) for one in server.deployment["spec"]["template"]["spec"]["containers"]]
    old, new = f"={FOLDER}/{MODEL}", f"={FOLDER}/{_SECOND}"
    containers[0]["command"] = [word.replace(old, new) for word in containers[0]["command"]]
    user = ctx.session.workspaces.user(server.namespace)
    user.patch(path, {"spec": {"template": {"spec": {"containers": containers}}}})


def client_name(ctx: Context) -> str:
    """Checks that run beside each other share a namespace."""
    return f"{ctx.label.replace('.', '-')}-client"


def client(ctx: Context, server: Server, *more: str) -> Object:
    """A pod that asks this server; see payloads/serving_client.py."""
    command = ["python3", "/payload/serving_client.py", server.name, MODEL, f"{FOLDER}/answers.json", *more]
    return _with_models(ctx, client_name(ctx), command)


def problems(told: Mapping[str, Any], who: str) -> list[str]:
    """What is wrong with a client's tally, whoever asked for what."""
    found = []
    if told["failed"]:
        found.append(
            f"{who}: {told['failed']} of {told['requests']:,} requests failed; {'; '.join(told['errors'][:2])}"
        )
    if told["wrong"]:
        found.append(f"{who}: {told['wrong']} of {told['requests']:,} answers are not those of the model itself")
    return found
