"""Submitting: look whether it can work, try everything in vain first, then make it; what goes wrong is taken back.

Order of making: the ConfigMap, whose name reserves the job's; the job; what belongs to it, owned by it, so that it all
goes with the job whoever deletes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from arena_cli import charts, fields, preflight, record, yamltext
from arena_cli.fields import Object
from arena_cli.flags import Given
from arena_cli.jobs.catalogue import Recipe
from arena_cli.kube import resources
from arena_cli.kube.client import ApiError, Client
from arena_cli.session import Session
from arena_cli.settings import Settings
from arena_install.errors import ArenaError


def submit(recipe: Recipe, type_: str, given: Given) -> None:
    """Raises ConfigError before anything is asked of the cluster, StepError where it says no. Prints what was made."""
    session = Session(given)
    job = fields.job_name(given.text("name"))
    values = _with_images(recipe.values(given, session.settings.pull_secrets), given, session.settings)
    files = given.many("values")
    if given.on("dry-run"):
        print(yamltext.documents(charts.render(recipe.chart, job, session.namespace_offline, values, files)), end="")
        return
    namespace = session.namespace
    objects = charts.render(recipe.chart, job, namespace, values, files)
    preflight.check(session.client, namespace, job, type_, values, objects)
    told = yamltext.dump(values)
    note = record.config_map(job, type_, namespace, recipe.chart, charts.version(recipe.chart), told, objects)
    make(session.client, note, objects)
    for obj in objects:
        print(f"{record.info(obj)} created")
    _warn(values)
    verb = f"cron get {job}" if type_ == "cron-tfjob" else f"get {job} --type {type_}"
    look = f"arena {verb} -n {namespace}"
    print(f"The Job {job} has been submitted successfully", file=sys.stderr)
    print(f"You can run `{look}` to check the job status", file=sys.stderr)


def _with_images(values: Object, given: Given, settings: Settings) -> Object:
    """A site's images for what runs beside a job, where no flag names another."""
    if not values.get("job"):
        return values
    beside = {"syncImage": settings.sync_image, "tensorboardImage": settings.tensorboard_image}
    found = {**values, "job": values["job"] | {key: image for key, image in beside.items() if image}}
    if settings.cron_image and "cron" in values and not given.typed("cron-image"):
        found["cron"] = {**values["cron"], "image": settings.cron_image}
    return found


def make(client: Client, note: Object, objects: Sequence[Object]) -> None:
    """All or nothing. Raises ApiError."""
    namespace = note["metadata"]["namespace"]
    every = [note, *objects]
    client.together([partial(_try, client, obj, namespace) for obj in every])
    tried: list[Object] = []

    def create(obj: Object) -> Object:
        """What the API refuses is not there; what it does not answer may be."""
        tried.append(obj)
        try:
            return _create(client, obj, namespace)
        except ApiError:
            tried.remove(obj)
            raise

    try:
        create(note)
        owners = [record.owner(create(objects[0]))]
        for obj in objects[1:]:
            create({**obj, "metadata": {**obj["metadata"], "ownerReferences": owners}})
        client.patch(resources.path(note, namespace), {"metadata": {"ownerReferences": owners}})
    except (ArenaError, KeyboardInterrupt):
        for obj in reversed(tried):
            try:
                client.delete(resources.path(obj, namespace))
            except ArenaError as error:
                print(f"warning: {record.info(obj)} stays behind: {error.what}", file=sys.stderr)
        raise


def _try(client: Client, obj: Object, namespace: str) -> None:
    """In vain, strictly. For who is no administrator the API looks up the Role of a binding; one that is only tried as
    well is not there to be looked at."""
    try:
        _create(client, obj, namespace, dryRun="All", fieldValidation="Strict")
    except ApiError as error:
        if error.status != 404 or obj["kind"] != "RoleBinding":
            raise


def _create(client: Client, obj: Object, namespace: str, **query: Any) -> Object:
    found = {**client.create(resources.collection(obj, namespace), obj, **query)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **found}


def _warn(values: Object) -> None:
    board = values.get("job", {}).get("tensorboard", {})
    writers = values.get("job", {}).get("roles", {}).get(board.get("writer", ""), {}).get("replicas", 0)
    if board.get("ownVolume") and writers > 1:
        where = board["logdir"]
        print(
            f"note: all {writers} pods that write to {where} share one volume, which may keep them on one node; "
            f"--data PVC:{where} gives them one that many nodes can mount",
            file=sys.stderr,
        )
