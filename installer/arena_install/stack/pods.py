"""What a pod, a workload or a namespace says about itself: states, warnings and last log lines, in words for people."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_install.errors import ArenaError
from arena_install.stack.api import Api, ApiError, Object

WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "Job")

#: Container states that do not mend by waiting a little.
_BROKEN = ("ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError")
_RESTARTS = 4  # of a crashing container until it counts as broken
_LOG_LINES = 40
REFRESHED = "arena-install.local/refreshed"  # annotation: how often its Secrets were written anew for us


@dataclass(frozen=True)
class PodState:
    namespace: str
    name: str
    node: str
    ready: bool
    reason: str  # "ImagePullBackOff", "Unschedulable", "Running", ...
    message: str = ""
    container: str = ""
    restarts: int = 0
    broken: bool = False  # waiting longer will not help

    def __str__(self) -> str:
        node = f" on {self.node}" if self.node else ""
        container = f" container {self.container}" if self.container else ""
        restarts = f", {self.restarts} restarts" if self.restarts else ""
        message = f": {self.message.strip().splitlines()[0]}" if self.message.strip() else ""
        return f"pod {self.namespace}/{self.name}{node}{container} {self.reason}{restarts}{message}"


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """The state of the first container that is not as it should be, init containers first."""
    metadata, status = pod["metadata"], pod.get("status", {})
    base = {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "node": pod.get("spec", {}).get("nodeName", ""),
    }
    if metadata.get("deletionTimestamp"):
        return PodState(**base, ready=False, reason="Terminating")
    conditions = {row["type"]: row for row in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        reason = scheduled.get("reason") or "Unschedulable"
        return PodState(**base, ready=False, reason=reason, message=scheduled.get("message", ""))
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for row in statuses:
        restarts = int(row.get("restartCount") or 0)
        for kind, state in (row.get("state") or {}).items():
            if kind == "waiting" and state.get("reason") == "PodInitializing":
                continue
            if kind == "waiting":
                reason = state.get("reason") or "waiting"
                last = (row.get("lastState") or {}).get("terminated") or {}
                message = state.get("message", "")
                if last:
                    message = f"exit code {last.get('exitCode')} ({last.get('reason', '')}); {message}"
                broken = reason in _BROKEN or (reason == "CrashLoopBackOff" and restarts >= _RESTARTS)
                return PodState(**base, ready=False, reason=reason, message=message, container=row["name"],
                                restarts=restarts, broken=broken)
            if kind == "terminated" and state.get("exitCode"):
                message = f"exit code {state['exitCode']} {state.get('message', '')}"
                return PodState(**base, ready=False, reason=state.get("reason") or "Error", message=message,
                                container=row["name"], restarts=restarts)
    ready = conditions.get("Ready", {}).get("status") == "True" or status.get("phase") == "Succeeded"
    if ready:
        return PodState(**base, ready=True, reason="Running")
    slow = next((row["name"] for row in statuses if not row.get("ready") and "running" in (row.get("state") or {})), "")
    reason = "is running but not ready" if slow else status.get("phase") or "Pending"
    return PodState(**base, ready=False, reason=reason, message=status.get("message", ""), container=slow)


def owned_pods(pods: Iterable[Object], workload: Mapping[str, Any]) -> list[Object]:
    """Pods that a workload's selector matches (matchLabels only: what charts use)."""
    wanted = workload.get("spec", {}).get("selector", {}).get("matchLabels", {})
    return [
        pod
        for pod in pods
        if wanted and all(pod["metadata"].get("labels", {}).get(key) == value for key, value in wanted.items())
    ]


def refresh_secrets(api: Api, namespace: str) -> None:
    """Have the kubelets write mounted Secrets anew, now: they do so when a pod changes, else every minute or two.

    For controllers that fill the Secret of their own webhook and then wait until it is mounted.
    """
    for pod in api.list_objects("v1", "Pod", namespace):
        mounts = any("secret" in volume for volume in pod["spec"].get("volumes") or ())
        if mounts and pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
            notes = pod["metadata"].get("annotations") or {}
            change = {REFRESHED: str(int(notes.get(REFRESHED, 0)) + 1)}
            with contextlib.suppress(ApiError):  # it has just gone, or somebody forbids it: then it takes a minute
                api.merge("v1", "Pod", pod["metadata"]["name"], {"metadata": {"annotations": change}}, namespace)


def rollout(workload: Mapping[str, Any]) -> str:
    """What of a workload is not rolled out ("1 of 3 ready"), "" when all is."""
    spec, status = workload.get("spec", {}), workload.get("status", {})
    if int(status.get("observedGeneration") or 0) < int(workload["metadata"].get("generation") or 0):
        return "not yet seen by its controller" if workload["kind"] != "Job" else _job(spec, status)
    match workload["kind"]:
        case "DaemonSet":
            wanted = int(status.get("desiredNumberScheduled") or 0)
            fresh, ready = int(status.get("updatedNumberScheduled") or 0), int(status.get("numberAvailable") or 0)
        case "Deployment":
            wanted = int(spec.get("replicas", 1))
            fresh, ready = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
        case "StatefulSet":
            wanted = int(spec.get("replicas", 1))
            fresh, ready = int(status.get("updatedReplicas") or 0), int(status.get("readyReplicas") or 0)
        case _:
            return _job(spec, status)
    old = int(status.get("replicas") or 0) - fresh if workload["kind"] == "Deployment" else 0
    if old > 0:  # they may be the only ones that work
        return f"{old} of the old ones still run"
    count = min(fresh, ready)
    return "" if count >= wanted else f"{count} of {wanted} ready"


def _job(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    wanted, done = int(spec.get("completions", 1)), int(status.get("succeeded") or 0)
    return "" if done >= wanted else f"{done} of {wanted} completed"


def warnings(api: Api, namespace: str, prefix: str) -> list[Object]:
    """Warning events of objects whose name starts with prefix, oldest first."""
    events = api.list_objects("v1", "Event", namespace, fieldSelector="type=Warning")
    rows = [event for event in events if event["involvedObject"].get("name", "").startswith(prefix)]
    return sorted(rows, key=event_time)


def event_time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    metadata = event["metadata"].get("creationTimestamp")
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or metadata or "")


def event_text(event: Mapping[str, Any]) -> str:
    involved = event["involvedObject"]
    message = " ".join(str(event.get("message", "")).split())
    return f"event {event.get('reason', '')} on {involved.get('kind', '')} {involved.get('name', '')}: {message}"


def last_log(api: Api, state: PodState, container: str = "") -> str:
    """Last lines of a pod's container, of its previous run where it crashed; "" where there are none."""
    path = api.path("v1", "Pod", state.namespace, state.name) + "/log"
    query = {"tailLines": str(_LOG_LINES)}
    name = container or state.container
    if name:
        query["container"] = name
    for previous in ("true", "false") if state.restarts else ("false",):
        try:
            text = api.request("GET", path, query={**query, "previous": previous}, text=True, accept="*/*")
            # A container that is gone already is told of in words, not by an error.
            if text.strip() and not text.startswith("unable to retrieve container logs"):
                return str(text).strip()
        except ArenaError:
            continue
    return ""


def capture(api: Api, namespace: str, folder: Path, extra: Mapping[str, object]) -> list[PodState]:
    """Write what a namespace looks like now (pods, workloads, events, logs) into a folder; returns its pods' states.

    Called before anything is rolled back, because a rollback removes the very pods that know why. What can't be read
    is left out: evidence must not fail the recovery.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    states: list[PodState] = []
    kinds = [("v1", "Pod"), ("v1", "Event"), ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"),
             ("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job")]
    for api_version, kind in kinds:
        try:
            objects = api.list_objects(api_version, kind, namespace)
        except ArenaError:
            continue
        (folder / f"{kind.lower()}s.json").write_text(json.dumps(objects, indent=1))
        if kind == "Pod":
            states = [pod_state(pod) for pod in objects]
    for state in states:
        if not state.ready and (text := last_log(api, state)):
            (folder / f"{state.name}.log").write_text(text + "\n")
    (folder / "summary.json").write_text(json.dumps(extra, indent=1, default=str))
    return states


def explain(api: Api, namespace: str, prefixes: Iterable[str], states: Iterable[PodState]) -> tuple[str, list[str]]:
    """(the pod or workload at fault, lines that say why): its state, its last warning, its last log lines."""
    bad = sorted((state for state in states if not state.ready), key=lambda state: (not state.broken, -state.restarts))
    names = [bad[0].name] if bad else list(prefixes)
    lines = [str(bad[0])] if bad else []
    for name in names:
        try:
            found = warnings(api, namespace, name)
        except ArenaError:
            found = []
        if found:
            lines.append(event_text(found[-1]))
            break
    if bad and (text := last_log(api, bad[0])):
        lines += ["last lines of its log:", *(f"  {line}" for line in text.splitlines()[-5:])]
    return (f"pod {bad[0].namespace}/{bad[0].name}" if bad else "", lines)
