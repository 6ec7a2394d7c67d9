"""Finding, changing and removing serving jobs."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from arena_cli import charts, fields, preflight, record, yamltext
from arena_cli.fields import Object
from arena_cli.flags import Given
from arena_cli.jobs.values import resources
from arena_cli.kube.client import at
from arena_cli.kube.resources import named
from arena_cli.look import build, reason, text
from arena_cli.look.model import Job
from arena_cli.look.show import events_of
from arena_cli.serving import look, values
from arena_cli.serving.look import Serving
from arena_cli.session import Session
from arena_install.errors import ArenaError, ConfigError, ErrorGroup
from arena_install.suggest import closest, did_you_mean

MAKERS = {"tensorflow": values.tensorflow, "triton": values.triton, "custom": values.custom}


def submit(kind: str, given: Given) -> None:
    from arena_cli.submit import make

    session = Session(given)
    found = MAKERS[kind](given, session.settings.pull_secrets)
    if kind == "tensorflow" and session.settings.serving_image and not given.typed("image"):
        found["image"] = session.settings.serving_image
    name, version, type_ = str(found["name"]), str(found["version"]), str(found["type"])
    release, files = f"{name}-{version}", given.many("values")
    namespace = session.namespace_offline if given.on("dry-run") else session.namespace
    objects = charts.render("serving", release, namespace, found, files)
    if given.on("dry-run"):
        sys.stdout.write(yamltext.documents(objects))
        return
    asked = {
        "job": {
            "claims": found.get("claims", []),
            "imagePullSecrets": found.get("imagePullSecrets", []),
            "requestGPUs": _gpus(found),
        }
    }
    preflight.check(session.client, namespace, release, type_, asked, objects)
    told = yamltext.dump(found)
    note = record.config_map(release, type_, namespace, "serving", charts.version("serving"), told, objects)
    make(session.client, note, objects)
    for obj in objects:
        print(f"{record.info(obj)} created")
    print(f"The Job {name} has been submitted successfully", file=sys.stderr)
    look_ = f"arena serve get {name} --type {type_} -n {namespace}"
    print(f"You can run `{look_}` to check the job status", file=sys.stderr)


def _gpus(found: Object) -> int:
    return int(found.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0)) * int(found["replicas"])


def everything(session: Session, scope: str) -> list[Serving]:
    client, label = session.client, "servingName"
    rows = client.together(
        [
            partial(client.items, at(api, plural, scope), labelSelector=label)
            for api, plural in (("apps/v1", "deployments"), ("v1", "services"), ("v1", "pods"))
        ]
    )
    return look.servings(*rows)


def show_all(given: Given) -> None:
    session = Session(given)
    found = _of_type(everything(session, session.scope), given.text("type"))
    form, now = given.text("output"), time.time()
    if form == "wide":
        sys.stdout.write(look.table(found, everywhere=not session.scope))
    elif form == "name":
        sys.stdout.write("".join(f"deployment.apps/{one.deployment['metadata']['name']}\n" for one in found))
    else:
        rows = [look.as_dict(one, now) for one in found]
        sys.stdout.write(text.as_json(rows) if form == "json" else text.as_yaml(rows))


def show(given: Given, name: str) -> None:
    session = Session(given)
    one, form, now = find(session, name), given.text("output"), time.time()
    if form == "name":
        print(f"deployment.apps/{one.deployment['metadata']['name']}")
    elif form == "wide":
        sys.stdout.write(look.page(one, now, _why(session, one)))
    else:
        row = look.as_dict(one, now)
        sys.stdout.write(text.as_json(row) if form == "json" else text.as_yaml(row))


def _why(session: Session, one: Serving) -> str:
    if one.available >= one.desired:
        return ""
    events = session.client.items(at("v1", "events", session.namespace))
    job = as_job(one)
    failed = reason.failure(job)
    return reason.pending(job, events_of(job, events)) or (failed.text if failed else "")


def as_job(one: Serving) -> Job:
    """As logs, attach and the reasons take it."""
    instances = [build.instance(pod, place == 0) for place, pod in enumerate(one.pods)]
    meta = one.deployment["metadata"]
    return Job(
        str(meta.get("uid", "")),
        str(meta["name"]),
        one.namespace,
        one.type,
        "RUNNING",
        one.created,
        None,
        one.gpus,
        0,
        start=one.created,
        instances=tuple(instances),
        raw=one.deployment,
        pods=one.pods,
    )


def find(session: Session, name: str) -> Serving:
    """Raises ConfigError: none of that name, or several versions or types."""
    given = session.given
    every = everything(session, session.namespace)
    found = _of_type([one for one in every if one.name == name], given.text("type"))
    if given.text("version"):
        found = [one for one in found if one.version == given.text("version")]
    if not found:
        guess = closest(name, [one.name for one in every])
        raise ConfigError(
            f"there is no serving job {name} in namespace {session.namespace}",
            fix=f"did you mean `{guess}`?" if guess and guess != name else "arena serve list shows them",
        )
    if len(found) > 1:
        rows = "\n".join(f"{one.name} --version {one.version} --type {one.type}" for one in found)
        raise ConfigError(
            f"there are {len(found)} serving jobs called {name}", why=rows, fix="add --version, or --type"
        )
    return found[0]


def _of_type(found: list[Serving], wanted: str) -> list[Serving]:
    if not wanted:
        return found
    type_ = look.type_of(wanted)
    if not type_:
        raise ConfigError(
            f"--type: {wanted!r} is no kind of serving", fix=did_you_mean(wanted.lower(), list(look.TYPES))
        )
    return [one for one in found if one.type == type_]


def delete(given: Given, names: tuple[str, ...]) -> None:
    """Every name is tried; what could not be deleted is told at the end."""
    session, errors = Session(given), []
    for name in names:
        try:
            one = find(session, name)
            remove(session, one)
            print(f"The serving job {name} with version {one.version} has been deleted successfully")
        except ArenaError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorGroup(errors)


def remove(session: Session, one: Serving) -> None:
    """By the ConfigMap's list, which upstream's jobs have too, and by what was found."""
    client, namespace = session.client, one.namespace
    path = at("v1", "configmaps", namespace, record.name(f"{one.name}-{one.version}", one.type))
    note = client.find(path)
    for info in str(((note or {}).get("data") or {}).get("app", "")).splitlines():
        if where := named(info, namespace):
            client.delete(where)
    client.delete(at("apps/v1", "deployments", namespace, str(one.deployment["metadata"]["name"])))
    if one.service is not None:
        client.delete(at("v1", "services", namespace, str(one.service["metadata"]["name"])))
    if note is not None:
        client.delete(path)


def update(given: Given) -> None:
    """Change what was given, and leave the rest as it is."""
    session = Session(given)
    one = find(session, given.text("name"))
    container: dict[str, Any] = {"name": one.deployment["spec"]["template"]["spec"]["containers"][0]["name"]}
    if given.text("image"):
        container["image"] = fields.image("--image", given.text("image"))
    shape = resources(
        cpu=fields.cpu("--cpu", given.text("cpu")),
        memory=fields.memory("--memory", given.text("memory")),
        gpus=fields.at_least("--gpus", given.number("gpus"), 0, 1024),
    )
    if shape:
        container["resources"] = shape
    if given.many("env"):
        container["env"] = [
            {"name": key, "value": value} for key, value in fields.env("--env", given.many("env")).items()
        ]
    if given.text("command"):
        container["command"] = ["sh", "-c", given.text("command")]
    labels = fields.own_labels(given.many("label"))
    notes = fields.notes("--annotation", given.many("annotation"))
    pod: dict[str, Any] = {"containers": [container]} if len(container) > 1 else {}
    if given.many("selector"):
        pod["nodeSelector"] = fields.labels("--selector", given.many("selector"))
    if given.many("toleration"):
        pod["tolerations"] = fields.tolerations(given.many("toleration"))
    spec: dict[str, Any] = (
        {"replicas": fields.at_least("--replicas", given.number("replicas"), 0, 1000)}
        if given.typed("replicas")
        else {}
    )
    meta = {key: value for key, value in (("labels", labels), ("annotations", notes)) if value}
    template = {**({"spec": pod} if pod else {}), **({"metadata": meta} if meta else {})}
    if template:
        spec["template"] = template
    if not spec:
        raise ConfigError(
            "nothing is to be changed", fix="give at least one of --image, --replicas, --gpus, --env, ..."
        )
    path = at("apps/v1", "deployments", one.namespace, str(one.deployment["metadata"]["name"]))
    session.client.patch(path, {"spec": spec}, strategic=True)
    print(f"The serving job {one.name} with version {one.version} has been updated successfully")
