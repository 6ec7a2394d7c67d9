"""Suite notebooks: JupyterHub answers and turns strangers away; a user's notebook has the GPU that it asked for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_install.users import Added
from arena_install.users.notebook import HUB, LOGIN
from arena_install.verify import made_user, pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, namespaced
from arena_install.verify.model import Outcome, judged, skipped
from arena_install.verify.pytorchjob import BUSY_FIX, free_gpus
from arena_install.verify.records import records
from arena_install.verify.registry import check

_IMAGE = "arena-install.local/notebook:1.0"
_LOGS = f"kubectl -n {HUB} logs {HUB}-0"
_FIX = f"kubectl -n {HUB} get pods; {_LOGS}"
_PRIVATE = ("users", "user", "proxy", "services")


@check(
    "notebooks.hub",
    "JupyterHub answers, and nobody without a login",
    proves="hub and proxy answer; what the hub knows of users, notebooks and routes is refused to a stranger",
    needs=("cluster.nodes-ready", "component:jupyterhub"),
    timeout=60,
)
def hub(ctx: Context) -> Outcome:
    base = f"{namespaced('services', HUB, HUB)}:http/proxy/hub"
    try:
        version = str(ctx.kube.get(f"{base}/api/").get("version", ""))
    except ApiError as error:
        raise CheckFailed("JupyterHub does not answer", cause=error.why, fix=_FIX) from error
    answers = {path: ctx.kube.status(f"{base}/api/{path}") for path in _PRIVATE}
    ctx.save("answers.json", {"version": version, "without a login": answers})
    problems = [] if version else ["it does not say its version"]
    problems += [f"/hub/api/{path} answers {status} to a stranger" for path, status in answers.items() if status != 403]
    return judged(
        "the hub tells its version through the proxy; four of its lists are refused (403) without a login",
        f"JupyterHub {version}; " + ", ".join(f"{path} {status}" for path, status in answers.items()),
        problems,
        fix=_FIX,
    )


@check(
    "notebooks.server",
    "A user's notebook has its GPU, and keeps its files",
    proves="a user of `user add` logs in, strangers and wrong passwords are refused; a notebook runs in the user's "
    "namespace, a cell sees the one GPU that the kubelet gave it, arena works; a file outlives stop and start",
    severity="critical",
    needs=("notebooks.hub", "gpu.device-plugin", "component:storage"),
    holds=("gpu", "made-user"),
    timeout=900,
    writes=True,
)
def server(ctx: Context) -> Outcome:
    profiles = _profiles(ctx)
    if profiles is None:
        return skipped(
            f"no profile of notebooks asks for {made_user.GPUS} GPU, and none for no GPU",
            fix="values: {jupyterhub: {profiles: ...}} in cluster.yaml",
        )
    nodes = ctx.session.gpu_names()
    if not any(free_gpus(ctx, node) for node in nodes):
        return skipped("no GPU is free", fix=BUSY_FIX)
    ctx.session.readers.start(ctx, nodes)
    with tempfile.TemporaryDirectory(prefix="arena-install-") as folder:
        ctx.progress("adding a user")
        try:
            added = made_user.make(ctx.session, Path(folder))
            said = _visit(ctx, added, *profiles)
            given = _given(ctx, added)
        finally:
            ctx.progress("removing the user")
            made_user.remove(ctx.session)
    ctx.save("podresources.json", given)
    problems = problems_of(said, given)
    first, second = _one(said, "first"), _one(said, "second")
    return judged(
        "without a login and with wrong passwords refused; one GPU seen, the kubelet's; arena works; the file is kept",
        f"GPU {', '.join(first.get('uuids', ())) or 'none'}, started in {first.get('seconds', 0):.0f} s; without GPU: "
        f"{len(second.get('uuids', ()))} seen, in {second.get('seconds', 0):.0f} s; file "
        + ("kept" if second.get("kept") else "not kept"),
        problems,
        fix=_LOGS,
        data={"first": first.get("seconds"), "second": second.get("seconds")},
    )


def _profiles(ctx: Context) -> tuple[str, str] | None:
    """Slugs of one with as many GPUs as the check's user may have, and of one without."""
    text = ctx.kube.get(namespaced("configmaps", HUB, HUB))["data"]["values.json"]
    found = {int(row["gpus"]): str(row["slug"]) for row in json.loads(text)["profiles"]}
    gpu, cpu = found.get(made_user.GPUS), found.get(0)
    return (gpu, cpu) if gpu and cpu else None


def _visit(ctx: Context, added: Added, gpu: str, cpu: str) -> list[dict[str, Any]]:
    """What the client reports, from a pod in the user's own namespace."""
    space = added.identity.namespace
    settings = {
        "hub": f"http://{HUB}.{HUB}.svc.{ctx.cluster.config.kubernetes.cluster_domain}:8000",
        "name": added.identity.name,
        "account": f"{space}-{added.identity.id}",
        "gpu": gpu,
        "cpu": cpu,
    }
    login: Object = {"secret": {"secretName": LOGIN, "items": [{"key": "password", "path": "password"}]}}
    pod = pods.manifest(
        ctx,
        "visitor",
        _IMAGE,
        ["python3", "/payload/notebook_client.py", json.dumps(settings)],
        payload=ctx.session.workspaces.payload(space),
        volumes=[(login, "/login")],
    )
    ctx.progress("logging in, starting a notebook")
    try:
        logs = pods.run_all(ctx, space, [pod], "visit of the hub done")
    finally:
        ctx.save("hub.log", ctx.kube.logs(HUB, f"{HUB}-0", tail=400))
    return records(logs["visitor"])


def _given(ctx: Context, added: Added) -> list[list[str]]:
    """Every set of GPUs that the kubelet named for notebooks of this user."""
    space = added.identity.namespace
    found = {
        uuids
        for node in ctx.session.gpu_names()
        for view in ctx.session.readers.history(ctx, node)
        for (namespace, pod), uuids in view.assigned.items()
        if namespace == space and pod.startswith("notebook-")
    }
    return sorted(map(list, found))


def _one(said: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    return next((record for record in said if record["kind"] == kind), {})


def problems_of(said: Sequence[Mapping[str, Any]], given: Sequence[Sequence[str]]) -> list[str]:
    """What is wrong with a visit. given: sets of GPUs that the kubelet named for the notebook."""
    problems = [str(record["text"]) for record in said if record["kind"] == "error"]
    problems += [
        f"{page} is shown without a login ({answer})"
        for record in said
        for page, answer in record.get("pages", {}).items()
        if answer not in ("login", 403)
    ]
    refused, login = _one(said, "refused"), _one(said, "login")
    if refused and (refused["status"], refused["token"]) != (403, 403):
        problems.append(f"wrong passwords are answered with {refused['status']} and {refused['token']}, not refused")
    if login and login["status"] != 302:
        problems.append(f"the right password is answered with {login['status']}")
    if first := _one(said, "first"):
        if len(first["uuids"]) != made_user.GPUS or list(map(list, given)) != [first["uuids"]]:
            problems.append(f"a cell sees {first['uuids'] or 'no GPU'}, the kubelet gave {[*given] or 'none'}")
        if first["arena"] != 0:
            problems.append(f"`arena list` in the notebook ends with {first['arena']}: {first['said']}")
    if second := _one(said, "second"):
        if second["uuids"]:
            problems.append(f"a notebook without GPU sees {second['uuids']}")
        if not second["kept"]:
            problems.append("the file of the first notebook is not in the second's home folder")
    if not problems and not _one(said, "end"):
        problems.append("the visit did not come to its end; see its log in the evidence")
    return problems
