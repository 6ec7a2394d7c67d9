"""Why a job waits or failed, in one line that begins with what it is about: quota, gang, GPU, image, volume. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from arena_cli.look import status as word
from arena_cli.look.model import Job, Object
from arena_cli.look.show import event_time
from arena_install.podwords import MISSING, PULL, insufficient, scheduler_said

_QUOTA = re.compile(r"exceeded quota: ([\w.-]+), requested: (\S+), used: (\S+), limited: (\S+)")
_GANG = re.compile(r"pod group is not ready|tasks? in gang unschedulable|gang", re.I)
#: Volcano of a pod that has a place, in a gang that has not.
_ALONE = re.compile(r"can possibly be assigned to \S+, once .*minAvailable is satisfied")
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_FAILED_CREATE = ("FailedCreate", "FailedCreatePod", "FailedCreatePodReason", "PodCreationFailed")
_LONG = 200  # characters of what others say
#: Statuses of jobs that something may keep from running.
WAITS = ("PENDING", "QUEUING", "SUSPENDED", "SUBMITTED")


@dataclass(frozen=True)
class Failure:
    """The replica that failed first, and which of its logs says why."""

    pod: str
    container: str
    text: str
    previous: bool  # it was started again since; the log is of the run before


def why(job: Job, events: Iterable[Object], workloads: Iterable[Object]) -> tuple[str, Failure | None]:
    """("", None) where there is nothing to explain; the failure is there where one of the job's logs says more."""
    if job.status in WAITS:
        found = pending(job, events, workloads)
        if found and not found.startswith("crash:"):
            return found, None
    elif job.status != "FAILED":
        return "", None
    failed = failure(job)
    if failed is None:
        return "" if job.status != "FAILED" else _said(job), None
    return failed.text, failed


def _said(job: Job) -> str:
    """What the operator says of a failure whose pods are gone."""
    rows = (job.raw.get("status") or {}).get("conditions") or ()
    return next((str(row.get("message", "")) for row in rows if row.get("type") == "Failed"), "")


def pending(job: Job, events: Iterable[Object], workloads: Iterable[Object] = ()) -> str:
    """ "" where nothing keeps it from running. workloads: Kueue's, of the job's namespace."""
    events = list(events)
    if text := _queue(job, workloads):
        return text
    if text := _not_made(job, events):
        return text
    if text := _gang(job):
        return text
    for pod in job.pods:
        if text := _pod(pod, [event for event in events if _about(event, pod)]):
            return text
    if not job.pods and job.status in ("PENDING", "SUBMITTED", "QUEUING", "SUSPENDED"):
        return _warned(job, events) or "waiting: its operator has made no pod yet"
    return ""


def _queue(job: Job, workloads: Iterable[Object]) -> str:
    for workload in workloads:
        owners = [owner.get("uid") for owner in workload["metadata"].get("ownerReferences") or ()]
        if job.uid not in owners:
            continue
        rows = {row["type"]: row for row in (workload.get("status") or {}).get("conditions") or ()}
        queue = (workload.get("spec") or {}).get("queueName", "")
        reserved = rows.get("QuotaReserved", {})
        if reserved.get("status") == "True" and rows.get("Admitted", {}).get("status") == "True":
            return ""
        said = _short(
            reserved.get("message") or rows.get("Evicted", {}).get("message") or "it has not been looked at yet"
        )
        return f"quota: queue {queue} has not admitted it: {said}"
    return ""


def _not_made(job: Job, events: Sequence[Object]) -> str:
    """Pods that nobody could make: a quota, or a rule of the namespace. What could be made since is no reason more."""
    made = max((word.moment(pod["metadata"].get("creationTimestamp")) or 0.0 for pod in job.pods), default=0.0)
    for event in reversed(events):
        about, said = event.get("involvedObject") or {}, str(event.get("message", ""))
        if (event_time(event) or made) < made:
            continue
        if event.get("reason") not in _FAILED_CREATE and "forbidden" not in said:
            continue
        if not str(about.get("name", "")).startswith(job.name):
            continue
        if match := _QUOTA.search(said):
            name, requested, used, limited = match.groups()
            return (
                f"quota: ResourceQuota {name} has {_amount(limited)}, {_amount(used)} in use, a pod asks for "
                f"{_amount(requested)}"
            )
        if "violates PodSecurity" in said:
            return (
                f"policy: this namespace forbids such pods: {_short(said.partition('violates PodSecurity')[2].strip())}"
            )
        return f"not made: {_short(said)}"
    return ""


def _gang(job: Job) -> str:
    """Some of its pods would find a node, and others not."""
    said = [
        str(row.get("message", ""))
        for pod in job.pods
        for row in (pod.get("status") or {}).get("conditions") or ()
        if row.get("type") == "PodScheduled" and row.get("status") == "False"
    ]
    alone = sum(bool(_ALONE.search(text)) for text in said)
    if not alone or alone == len(said):
        return ""
    return f"gang: {alone} of {len(job.pods)} pods would find a node, and they start together or not at all"


def _amount(pairs: str) -> str:
    """requests.nvidia.com/gpu=1 -> 1 nvidia.com/gpu"""
    rows = [pair.partition("=") for pair in pairs.split(",")]
    return " and ".join(f"{value} {key.removeprefix('requests.').removeprefix('limits.')}" for key, _, value in rows)


def _about(event: Object, pod: Object) -> bool:
    about = event.get("involvedObject") or {}
    return about.get("kind") == "Pod" and about.get("name") == pod["metadata"]["name"]


def _pod(pod: Object, events: Sequence[Object]) -> str:
    status = pod.get("status") or {}
    if status.get("phase") not in ("Pending", None):
        return ""
    name = pod["metadata"]["name"]
    conditions = {row["type"]: row for row in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    if not (pod.get("spec") or {}).get("nodeName"):
        return _unscheduled(pod, name, scheduled, events)
    rows = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for row in rows:
        waiting = (row.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason", ""))
        if reason in PULL:
            tries = [str(one.get("message", "")) for one in events if "Failed to pull" in str(one.get("message", ""))]
            said = tries[-1] if tries else str(waiting.get("message", ""))
            return f"image: {row.get('image') or 'its image'} can't be pulled: {_last(said) or reason}"
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            return f"container: {name} can't start: {_short(str(waiting.get('message', reason)))}"
        if reason == "CrashLoopBackOff":
            return f"crash: container {row['name']} of {name} ends again and again ({row.get('restartCount', 0)} times)"
    for event in reversed(events):
        said = str(event.get("message", ""))
        if event.get("reason") in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
            missing = MISSING.search(said)
            return f"volume: the {missing[1]} {missing[2]} does not exist" if missing else f"volume: {_short(said)}"
        if event.get("reason") == "FailedCreatePodSandBox":
            return f"node: {name} can't be set up on its node: {_short(said)}"
    for row in status.get("initContainerStatuses") or ():
        if "running" in (row.get("state") or {}):
            if row["name"] == "init-code":
                return "code: it is being fetched (container init-code)"
            return f"waiting: {name} waits for {row['name']}"
    return ""


def _unscheduled(pod: Object, name: str, condition: Object, events: Sequence[Object]) -> str:
    said = scheduler_said(str(condition.get("message", "")))
    if condition.get("reason") == "SchedulingGated":
        return f"quota: {name} is not admitted yet ({_short(said) or 'it has a scheduling gate'})"
    if match := _CLAIM.search(said):
        return f"volume: there is no volume claim {match[1]}"
    if "PersistentVolumeClaim" in said or "volume node affinity" in said:
        return f"volume: {_short(said)}"
    told = [
        str(event.get("message", ""))
        for event in events
        if event.get("reason") in ("Unschedulable", "FailedScheduling")
    ]
    every = " ".join([said, *told[-1:]])
    short = insufficient(every)
    wants = word.pod_gpus(pod.get("spec") or {})
    gang = bool(_GANG.search(every))
    if any(word.is_gpu(one) for one in short):
        what = f"GPU: no node has {wants} free ({_short(said)})"
        return f"gang: {what}, and its pods start together or not at all" if gang else what
    if short:
        return f"{'gang: ' if gang else ''}node: not enough {' and '.join(sorted(short))} left ({_short(said)})"
    if gang:
        return f"gang: not all of its pods find a node: {_short(every)}"
    if "node affinity/selector" in said:
        selector = (pod.get("spec") or {}).get("nodeSelector") or {}
        wanted = ", ".join(f"{key}={value}" for key, value in selector.items()) or "what it wants"
        # The scheduler counts nodes of both sorts, and does not say which of them would do but for the other.
        taint = ", or those that do have a taint that it does not tolerate" if "untolerated taint" in said else ""
        return f"node: no node has {wanted} (--selector){taint}"
    if "untolerated taint" in said:
        return f"node: none that it tolerates has room; --toleration allows more ({_short(said)})"
    if said:
        return f"node: {_short(said)}"
    scheduler = (pod.get("spec") or {}).get("schedulerName", "default-scheduler")
    return f"waiting: scheduler {scheduler} has not looked at {name} yet"


def _warned(job: Job, events: Sequence[Object]) -> str:
    for event in reversed(events):
        if event.get("type") == "Warning" and (event.get("involvedObject") or {}).get("name") == job.name:
            return f"operator: {_short(str(event.get('message', '')))}"
    return ""


def failure(job: Job) -> Failure | None:
    """The container that failed first, by the clock; None where no pod that failed is left."""
    found: list[tuple[float, Failure]] = []
    for pod in job.pods:
        status, name = pod.get("status") or {}, str(pod["metadata"]["name"])
        for row in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
            for key, previous in (("lastState", True), ("state", False)):
                ended = (row.get(key) or {}).get("terminated") or {}
                if ended.get("exitCode"):
                    when = word.moment(ended.get("finishedAt")) or 0.0
                    found.append((when, Failure(name, str(row["name"]), _ended(name, row, ended), previous)))
                    break
        if not found and status.get("phase") == "Failed" and status.get("reason"):
            said = _short(str(status.get("message", "")))
            found.append(
                (
                    word.moment(status.get("startTime")) or 0.0,
                    Failure(name, "", f"{name}: {status['reason']}: {said}", False),
                )
            )
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _ended(name: str, row: Object, ended: Object) -> str:
    if ended.get("reason") == "OOMKilled":
        return f"memory: {name} wanted more than its limit (OOMKilled); --memory raises it"
    said = _short(str(ended.get("message", "")))
    where = "" if row["name"] in name else f", container {row['name']}"
    code = ended["exitCode"]
    meaning = {126: ", the command can't be run", 127: ", the command was not found", 137: ", it was killed"}.get(
        code, ""
    )
    return f"{name}{where} ended with exit code {code}{meaning}{f': {said}' if said else ''}"


def _last(text: str) -> str:
    """The innermost of errors that wrap one another."""
    return _short(": ".join(" ".join(text.split()).split(": ")[-2:]))


def _short(text: object) -> str:
    line = " ".join(str(text).split()).rstrip(".")
    return line if len(line) <= _LONG else f"{line[: _LONG - 3]}..."
