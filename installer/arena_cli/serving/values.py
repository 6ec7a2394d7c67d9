"""From the flags of `arena serve` to the chart's values. Pure, but for the time that is a version."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from typing import Any

import yaml

from arena_cli import fields
from arena_cli.command import command_line
from arena_cli.fields import Object
from arena_cli.flags import Given
from arena_cli.jobs import values as made
from arena_install.errors import ConfigError

_READY_EVERY = 2  # seconds
_VERSION = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")


def version_of(given: Given) -> str:
    text = given.text("version") or time.strftime("%Y%m%d%H%M")
    if not _VERSION.match(text) or len(text) > 20:
        raise ConfigError(
            f"--version: {text!r} can't be part of a name",
            why="lower-case letters, digits and hyphens, at most 20",
            fix="write --version v1",
        )
    return text


def common(
    given: Given, type_: str, ports: Sequence[tuple[str, int]], command: Sequence[str], pull_secrets: Sequence[str]
) -> Object:
    """ports: (name, number); those of number 0 are not wanted."""
    gpus = fields.at_least("--gpus", given.number("gpus"), 0, 1024)
    wanted = [(name, number) for name, number in ports if number]
    for name, number in wanted:
        fields.port(f"--{name} port", number)
    numbers = [number for _, number in wanted]
    if len(set(numbers)) < len(numbers):
        raise ConfigError("two ports have one number", fix="give each its own")
    resources = made.resources(
        cpu=fields.cpu("--cpu", given.text("cpu")),
        memory=fields.memory("--memory", given.text("memory")),
        gpus=gpus,
        devices=fields.devices(given.many("device"), gpus),
    )
    found: Object = {
        "name": fields.job_name(given.text("name")),
        "version": version_of(given),
        "type": type_,
        "image": made.image_of(given),
        "imagePullPolicy": given.text("image-pull-policy"),
        "imagePullSecrets": list(dict.fromkeys([*pull_secrets, *given.many("image-pull-secret")])),
        "replicas": fields.at_least("--replicas", given.number("replicas"), 0, 1000),
        "command": list(command),
        "labels": {**_model(given), **fields.own_labels(given.many("label"))},
        "annotations": fields.notes("--annotation", given.many("annotation")),
        "env": {**({} if gpus else {"NVIDIA_VISIBLE_DEVICES": "void"}), **fields.env("--env", given.many("env"))},
        "envFromSecret": _secrets(given.many("env-from-secret")),
        "resources": resources,
        "ports": [{"name": name, "port": number} for name, number in wanted],
        "nodeSelector": fields.labels("--selector", given.many("selector")),
        "tolerations": fields.tolerations(given.many("toleration")),
        "sharedMemory": fields.memory("--share-memory", given.text("share-memory")),
        "claims": _parts(
            "--data-subpath-expr", fields.claims(given.many("data")), given.many("data-subpath-expr"), "claim"
        ),
        "hostPaths": fields.host_paths(given.many("data-dir")),
        "tempDirs": _parts(
            "--temp-dir-subpath-expr", _temp(given.many("temp-dir")), given.many("temp-dir-subpath-expr"), "name"
        ),
        "configFiles": fields.config_files(given.many("config-file")),
    }
    return {key: value for key, value in found.items() if value not in ("", {}, [])}


def _model(given: Given) -> dict[str, str]:
    pairs = [
        f"{key}={given.text(flag)}"
        for flag, key in (("model-name", "modelName"), ("model-version", "modelVersion"))
        if given.text(flag)
    ]
    return fields.labels("--model-name", pairs)


def _secrets(items: Sequence[str]) -> dict[str, Object]:
    found = {}
    for name, place in fields.pairs("--env-from-secret", items):
        secret, _, key = place.partition(":")
        found[name] = {"secret": fields.object_name("--env-from-secret", secret), "key": key or name}
    fields.env("--env-from-secret", items)
    return found


def _temp(items: Sequence[str]) -> list[Object]:
    found = []
    for item in items:
        name, colon, path = item.partition(":")
        if not colon:
            raise ConfigError(f"--temp-dir: {item!r} is not NAME:/PATH")
        found.append({"name": fields.job_name(name, "--temp-dir"), "path": fields.mount("--temp-dir", path)})
    return found


def _parts(flag: str, rows: list[Object], items: Sequence[str], key: str) -> list[Object]:
    for item in items:
        name, colon, expression = item.partition(":")
        mine = [row for row in rows if row[key] == name]
        if not colon or not mine:
            raise ConfigError(f"{flag}: {item!r} names nothing that is mounted", fix=f"write {flag} NAME:EXPRESSION")
        mine[0]["subPathExpr"] = expression
    return rows


def shell(given: Given, line: str) -> list[str]:
    return [given.text("shell"), "-c", line] if line else []


# Commands of ours begin with exec: a shell that stays does not pass on that its pod is to end.


def tensorflow(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    path, config = given.text("model-path"), given.text("model-config-file")
    if bool(path) == bool(config):
        raise ConfigError(
            "what shall be served?",
            why="either --model-path or --model-config-file says so",
            fix="add --model-path /models/NAME",
        )
    line = [
        "exec",
        "/usr/bin/tensorflow_model_server",
        f"--port={given.number('port')}",
        f"--rest_api_port={given.number('restful-port')}",
    ]
    if path:
        line += [f"--model_name={given.text('model-name') or given.text('name')}", f"--model_base_path={path}"]
    else:
        line += [f"--model_config_file={config}"]
    if given.text("monitoring-config-file"):
        line += [f"--monitoring_config_file={given.text('monitoring-config-file')}"]
    own = _own_command(given)
    ports = [("grpc", given.number("port")), ("restful", given.number("restful-port"))]
    found = common(given, "tf-serving", ports, shell(given, own or shlex.join(line)), pull_secrets)
    if own:
        return found
    # The server listens once its models are loaded.
    named = f"/v1/models/{given.text('model-name') or given.text('name')}" if path else ""
    return {**found, **_ready(found, named)}


def _ready(found: Object, path: str) -> Object:
    """The probe for a server whose command is ours: `path` answers, or, without one, somebody listens."""
    ports = [row["name"] for row in found.get("ports", [])]
    if "restful" in ports and path:
        how: Object = {"httpGet": {"path": path, "port": "restful"}}
    elif ports:
        how = {"tcpSocket": {"port": ports[-1]}}
    else:
        return {}
    return {"probes": {"readinessProbe": {**how, "periodSeconds": _READY_EVERY}}}


def triton(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    command = own = _own_command(given)
    if not command:
        if not given.text("model-repository"):
            raise ConfigError("--model-repository is missing", why="Triton serves the models of a folder")
        line = [
            "exec",
            "tritonserver",
            f"--model-repository={given.text('model-repository')}",
            f"--http-port={given.number('http-port')}",
            f"--grpc-port={given.number('grpc-port')}",
            f"--metrics-port={given.number('metrics-port')}",
            f"--allow-metrics={str(given.on('allow-metrics')).lower()}",
        ]
        models = given.many("load-model")
        line += ["--model-control-mode=explicit", *(f"--load-model={model}" for model in models)] if models else []
        command = " ".join([shlex.join(line), given.text("extend-command")]).strip()
    ports = [("restful", given.number("http-port")), ("grpc", given.number("grpc-port"))]
    ports += [("metrics", given.number("metrics-port"))] if given.on("allow-metrics") else []
    found = common(given, "triton-serving", ports, shell(given, command), pull_secrets)
    return found if own else {**found, **_ready(found, "/v2/health/ready")}


def custom(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    ports = [
        ("grpc", given.number("port")),
        ("restful", given.number("restful-port")),
        ("metrics", given.number("metrics-port")),
    ]
    found = common(given, "custom-serving", ports, shell(given, _own_command(given)), pull_secrets)
    strategy = {
        key: _share(flag, given.text(flag))
        for flag, key in (("max-surge", "maxSurge"), ("max-unavailable", "maxUnavailable"))
        if given.text(flag)
    }
    probes = {f"{kind}Probe": probe for kind in ("liveness", "readiness", "startup") if (probe := _probe(given, kind))}
    return {**found, **({"strategy": strategy} if strategy else {}), **({"probes": probes} if probes else {})}


def _own_command(given: Given) -> str:
    words, flag = command_line(given.words) if given.words else "", given.text("command")
    if words and flag:
        raise ConfigError("there are two commands", why="one by --command, one at the end", fix="give one of them")
    return words or flag


def _share(flag: str, text: str) -> int | str:
    if text.isdigit():
        return int(text)
    if re.match(r"^\d{1,3}%$", text):
        return text
    raise ConfigError(f"--{flag}: {text!r} is neither a number nor a share", fix="write 1 or 25%")


def _probe(given: Given, kind: str) -> Object:
    action, options = given.text(f"{kind}-probe-action"), given.many(f"{kind}-probe-action-option")
    times = given.many(f"{kind}-probe-option")
    if not action:
        if options or times:
            raise ConfigError(f"--{kind}-probe-action is missing", fix=f"add --{kind}-probe-action httpGet")
        return {}
    how = _options(f"--{kind}-probe-action-option", options)
    if action == "exec" and isinstance(how.get("command"), str):
        how["command"] = ["sh", "-c", how["command"]]
    if action != "exec" and "port" not in how:
        raise ConfigError(f"the {kind} probe has no port", fix=f'add --{kind}-probe-action-option "port: 8000"')
    return {action: how, **_options(f"--{kind}-probe-option", times)}


def _options(flag: str, items: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        try:
            row = yaml.safe_load(item)
        except yaml.YAMLError:
            row = None
        if not isinstance(row, dict):
            raise ConfigError(f'{flag}: {item!r} is not "key: value"', fix=f'write {flag} "port: 8000"')
        found |= row
    return found
