"""Asks the API for jobs: one list for each kind, and the pods, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from arena_cli.kinds import kind_of
from arena_cli.kube.client import Client, allowed, at, sift
from arena_cli.look import build
from arena_cli.look.model import Job, Object
from arena_cli.look.show import tensorboard
from arena_install.errors import ConfigError
from arena_install.suggest import closest

#: Pods of jobs: those of arena's, ours and upstream's, and those that only an operator has labelled, as kubectl's are.
_SELECTORS = ("release", "training.kubeflow.org/job-name,!release", "volcano.sh/job-name,!release")
_NOT_FOUND = "training job not found,please use 'arena list' to make sure job is existed"


def jobs(client: Client, namespace: str, type_: str = "") -> list[Job]:
    """namespace: "" for all. type_: as --type has it, "" for all."""
    return jobs_and_pods(client, namespace, type_)[0]


def jobs_and_pods(client: Client, namespace: str, type_: str = "") -> tuple[list[Job], list[Object]]:
    """The jobs, and the pods of everything that belongs to jobs."""
    wanted = kind_of(type_) if type_ else None
    kinds = [kind for kind, types in build.resources() if wanted is None or wanted.type in types]
    pods = [partial(client.items, at("v1", "pods", namespace), labelSelector=selector) for selector in _SELECTORS]
    lists = [partial(allowed, client.items, at(kind.api, kind.plural, namespace)) for kind in kinds]
    asks: list[Any] = [*pods, *lists]
    answers = client.together(asks)
    found, listed = answers[: len(pods)], sift(answers[len(pods) :])
    rows = [(kind, objects or ()) for kind, objects in zip(kinds, listed, strict=True)]
    all_pods = [pod for part in found for pod in part]
    every = build.jobs_of(rows, all_pods)
    return [job for job in every if wanted is None or job.type == wanted.type], all_pods


def tensorboards(client: Client, namespace: str, pods: Sequence[Object]) -> dict[tuple[str, str], str]:
    """(namespace, job) -> the address of its TensorBoard."""
    found = {}
    for service in client.items(at("v1", "services", namespace), labelSelector="role=tensorboard,release"):
        meta = service["metadata"]
        here = [pod for pod in pods if pod["metadata"]["namespace"] == meta["namespace"]]
        found[meta["namespace"], meta["labels"]["release"]] = tensorboard(service, here, meta["labels"]["release"])
    return found


def one(client: Client, namespace: str, name: str, type_: str = "") -> tuple[Job, list[Object]]:
    """The job of a name, and the pods of everything that belongs to it. Raises ConfigError: none, or several."""
    wanted = kind_of(type_) if type_ else None
    kinds = [kind for kind, types in build.resources() if wanted is None or wanted.type in types]
    found = client.each([at(kind.api, kind.plural, namespace, name) for kind in kinds], client.find)
    there = [(kind, obj) for kind, obj in zip(kinds, found, strict=True) if obj is not None and not build.is_part(obj)]
    there = [(kind, obj) for kind, obj in there if wanted is None or build.type_of(kind, obj) == wanted.type]
    if not there:
        raise missing(client, namespace, name, type_)
    if len(there) > 1:
        types = [build.type_of(kind, obj) for kind, obj in there]
        raise ConfigError(
            f"there are {len(there)} jobs called {name}",
            why=f"they are of type {' and '.join(types)}",
            fix=f"add --type {types[0]}",
        )
    pods = pods_of(client, namespace, name)
    kind, obj = there[0]
    return build.job_of(kind, obj, build.by_job(pods).get((namespace, name), ())), pods


def pods_of(client: Client, namespace: str, name: str) -> list[Object]:
    """By upstream's label and by the operators', which are all that a job of kubectl's has."""
    keys = ("release", "workload.codeflare.dev/appwrapper", "training.kubeflow.org/job-name", "volcano.sh/job-name")
    path = at("v1", "pods", namespace)
    rows = client.together(
        [partial(client.items, path, labelSelector=label) for label in (f"{key}={name}" for key in keys)]
    )
    return list({pod["metadata"]["name"]: pod for found in rows for pod in found}.values())


def missing(client: Client, namespace: str, name: str, type_: str = "") -> ConfigError:
    known = [job.name for job in jobs(client, namespace, type_)]
    guess = closest(name, known)
    fix = f"did you mean `{guess}`?" if guess else f"arena list -n {namespace}" + (f" --type {type_}" if type_ else "")
    return ConfigError(_NOT_FOUND, why=f"there is no {type_ or 'job'} {name} in namespace {namespace}", fix=fix)
