"""A pod whose containers don't run: image, configuration, command, memory, its own errors; init containers first."""

from __future__ import annotations

import re

from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.pod_sandbox import DOCTOR
from arena_install.diagnosis.pod_view import PodView
from arena_install.diagnosis.view import Object
from arena_install.podwords import MISSING, PULL

_NO_ANSWER = re.compile(r"connection refused|i/o timeout|no route to host|x509|certificate|TLS handshake|EOF$", re.I)
_NO_COMMAND = re.compile(r'exec: "([^"]+)": .*(no such file or directory|not found|permission denied)')
_LOG_LINES = 4


def judge(view: PodView) -> Broken | None:
    """The first container, init containers first, that is not as it should be."""
    inits = view.status.get("initContainerStatuses") or ()
    for number, row in enumerate(inits):
        if broken := _init(view, row, number, len(inits)):
            return broken
    return next((broken for row in view.status.get("containerStatuses") or () if (broken := _one(view, row))), None)


def _init(view: PodView, row: Object, number: int, total: int) -> Broken | None:
    state, name = row.get("state") or {}, row["name"]
    place = f"init container {name} ({number + 1} of {total})"
    if "running" in state and not row.get("started", False):
        return _waits(view, name, place)
    if "running" in state and row.get("ready") is False:
        return _waits(view, name, place)
    return _one(view, row, place)


def _waits(view: PodView, name: str, place: str) -> Broken:
    look = Fix(f"kubectl -n {view.namespace} logs {view.name} -c {name} -f")
    log = _log(view, name) or ("it says nothing",)
    return Broken(f"{place} has not ended yet; the others wait for it", log, (look,))


def _one(view: PodView, row: Object, place: str = "") -> Broken | None:
    state, name = row.get("state") or {}, row["name"]
    place = place or f"container {name}"
    last = (row.get("lastState") or {}).get("terminated") or {}
    if waiting := state.get("waiting"):
        reason, said = str(waiting.get("reason", "")), " ".join(str(waiting.get("message", "")).split())
        if reason in PULL:
            return _image(view, row, reason, said)
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return _configuration(view, place, reason, said)
        if reason == "CrashLoopBackOff" and last:
            return _ended(view, row, place, last)
        return None
    ended = state.get("terminated") or {}
    if ended.get("exitCode"):
        return _ended(view, row, place, ended)
    if "running" in state and not row.get("ready") and not place.startswith("init"):
        return _not_ready(view, row, place, last)
    return None


def _image(view: PodView, row: Object, reason: str, waiting: str) -> Broken:
    image = row["image"] if "/" in row.get("image", "") else _image_of(view, row["name"])
    # While the kubelet waits to try again it does not say what went wrong; the event of the last try does.
    tries = [said for event in view.events if "Failed to pull" in (said := str(event.get("message", "")))]
    said = tries[-1] if tries else waiting or reason
    place = f"container {row['name']}"
    if reason == "InvalidImageName":
        return Broken(f"{place}: {image} is not a name of an image", (said,), view.edit("correct image"))
    if reason == "ErrImageNeverPull":
        what = f"{place}: {image} is not on {view.node}, and imagePullPolicy Never forbids to get it"
        return Broken(what, (said,), view.edit("set imagePullPolicy: IfNotPresent"))
    if view.images is not None and not _known(view.images, image):
        repository = _full(image).rpartition(":")[0]
        near = sorted(other for other in view.images if other.rpartition(":")[0] == repository)
        what = f"{place}: image {image} is not in this cluster's registry, nor in its lock"
        tell = f"use {near[0]}" if near else "use an image that the registry has, or a registry that the nodes reach"
        return Broken(what, (said,), view.edit(tell))
    if _NO_ANSWER.search(said):
        return Broken(f"{place}: the registry of {image} does not answer", (said,), (DOCTOR,))
    if "unauthorized" in said or "403" in said or "denied" in said:
        server = f"--docker-server={image.partition('/')[0]}"
        create = Fix(f"kubectl -n {view.namespace} create secret docker-registry NAME {server} ...")
        return Broken(f"{place}: the registry wants a login for {image}", (said,), (create,))
    return Broken(f"{place}: image {image} can't be pulled", (said,), (DOCTOR,))


def _image_of(view: PodView, name: str) -> str:
    spec = view.pod["spec"]
    rows = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return next((str(row["image"]) for row in rows if row["name"] == name), "")


def _known(images: frozenset[str], image: str) -> bool:
    return _full(image) in images or image in images


def _full(image: str) -> str:
    """A reference with what Docker's short form leaves out."""
    first = image.partition("/")[0]
    if "/" not in image:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _configuration(view: PodView, place: str, reason: str, said: str) -> Broken:
    if match := MISSING.search(said):
        kind, name = match.groups()
        what = f"{place}: the {kind} {name} that it takes variables from does not exist"
        return Broken(what, (said,), (view.make(kind, name),))
    if broken := _command(view, place, said):
        return broken
    if "nvidia" in said.lower() or "cdi" in said.lower():
        return Broken(f"{place}: its GPUs can't be put into it", (said,), (DOCTOR,))
    if "no space left" in said:
        return Broken(f"{place}: a disk of {view.node} is full", (said,), (DOCTOR,))
    ask = Fix(f"kubectl -n {view.namespace} describe pod {view.name}")
    return Broken(f"{place} can't be made: {reason}", (said,), (ask,))


def _command(view: PodView, place: str, said: str) -> Broken | None:
    if not (match := _NO_COMMAND.search(said)):
        return None
    what = f"{place}: its command {match[1]} can't be started: {match[2]}"
    return Broken(what, (said,), view.edit("correct command, or image"))


def _ended(view: PodView, row: Object, place: str, ended: Object) -> Broken:
    code, reason, restarts = ended.get("exitCode"), str(ended.get("reason", "")), int(row.get("restartCount") or 0)
    times = f", started {restarts + 1} times" if restarts else ""
    log = _log(view, row["name"])
    seen = (f"exit code {code} ({reason}){times}", *log)
    if reason == "OOMKilled":
        limit = _memory_limit(view, row["name"])
        what = f"{place} was ended for want of memory (OOMKilled), its limit is {limit or 'the memory of ' + view.node}"
        return Broken(what, seen, view.edit("raise resources.limits.memory, or use less"))
    said = " ".join(str(ended.get("message", "")).split())
    if broken := _command(view, place, said):
        return broken
    previous = " --previous" if restarts else ""
    look = Fix(f"kubectl -n {view.namespace} logs {view.name} -c {row['name']}{previous}")
    verb = "crashes" if restarts else "has failed"
    told = (*seen, said) if said and not log else seen
    return Broken(f"{place} {verb} by itself with exit code {code}", told, (look,))


def _memory_limit(view: PodView, name: str) -> str:
    spec = view.pod["spec"]
    for row in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        if row["name"] == name:
            return str((row.get("resources", {}).get("limits") or {}).get("memory", ""))
    return ""


def _not_ready(view: PodView, row: Object, place: str, last: Object) -> Broken:
    said = view.last("Unhealthy")
    seen = (said.rstrip(": ") or "it runs, and its readiness probe has not passed yet", *_log(view, row["name"]))
    look = Fix(f"kubectl -n {view.namespace} logs {view.name} -c {row['name']}")
    return Broken(f"{place} runs and is not ready", seen, (look,))


def _log(view: PodView, container: str) -> tuple[str, ...]:
    lines = [line for line in view.logs.get(container, "").splitlines() if line.strip()]
    return tuple(f"its log: {line}" for line in lines[-_LOG_LINES:])
