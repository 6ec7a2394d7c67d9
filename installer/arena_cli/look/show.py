"""The page of one job, as `arena get` prints it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arena_cli.kinds import BY_TYPE
from arena_cli.look import formats, text
from arena_cli.look import status as word
from arena_cli.look.formats import Gpus
from arena_cli.look.model import Job, Object


@dataclass(frozen=True)
class Page:
    """What is shown beside the job. log: last lines of what failed first. events, gpus: None where they were not asked
    for."""

    reason: str = ""
    log: Sequence[str] = ()
    tensorboard: str = ""
    events: Sequence[Object] | None = None
    gpus: Mapping[str, Gpus] | None = field(default=None)


def page(job: Job, now: float, more: Page) -> str:
    head = formats.head(job, now)
    if more.reason:
        head.append(("Reason", more.reason))
    parts = [text.pairs(head), formats.instances(job, now)]
    if more.log:
        parts.append("Last lines of its log:\n" + "".join(f"  {line}\n" for line in more.log))
    if more.gpus is not None and job.status != "SUCCEEDED" and job.gpus:
        parts.append(_gpus(job, more.gpus))
    if more.tensorboard:
        parts.append(f"Tensorboard:\n  Your tensorboard will be available on: \n  {more.tensorboard}\n")
    if more.events is not None:
        parts.append(events(more.events, now))
    return "\n".join(parts)


def _gpus(job: Job, gpus: Mapping[str, Gpus]) -> str:
    rows = [
        [one.name, one.node_ip or "N/A", str(one.gpus), index, duty, memory]
        for one in job.instances
        for index, duty, memory in formats.gpu_cells(gpus.get(one.name) or {})
    ]
    header = ["INSTANCE", "NODE(IP)", "GPU(Requested)", "GPU(IndexId)", "GPU(DutyCycle)", "GPU Memory(Used/Total)"]
    total = f"\n  Allocated/Requested GPUs of Job: {job.allocated}/{job.gpus}\n"
    return "GPUs:\n" + text.ruled(header, rows) + total


def events(found: Iterable[Object], now: float) -> str:
    rows = [
        [
            f"{str(event['involvedObject'].get('kind', '')).lower()}/{event['involvedObject'].get('name', '')}",
            str(event.get("type", "")),
            text.age(now - (event_time(event) or now)),
            f"[{event.get('reason', '')}] {' '.join(str(event.get('message', '')).split())}",
        ]
        for event in found
    ]
    if not rows:
        return "Events:\n  No events for resources\n"
    return "Events:\n" + text.ruled(["SOURCE", "TYPE", "AGE", "MESSAGE"], rows)


def event_time(event: Object) -> float | None:
    series = event.get("series") or {}
    said = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return word.moment(said or (event.get("metadata") or {}).get("creationTimestamp"))


def events_of(job: Job, found: Iterable[Object]) -> list[Object]:
    """Of the job, its pods and what belongs to it, oldest first; not of another job whose name only begins the same."""
    names = {job.name, *(one.name for one in job.instances)}
    kind = BY_TYPE[job.type].resource if job.type in BY_TYPE else ""
    roles = word.roles(kind, job.raw.get("spec") or {}) | {"launcher", "tensorboard", "logs", "files", "config"}
    # Where roles are not in the names (Ray, servers), the beginning is all that there is.
    part = "|".join(sorted(map(re.escape, roles))) if kind not in ("", "RayJob", "SparkApplication") else ""
    mine = re.compile(rf"^{re.escape(job.name)}-({part})(-|$)" if part else rf"^{re.escape(job.name)}-")
    of_it = [
        event
        for event in found
        if (name := str((event.get("involvedObject") or {}).get("name", ""))) in names or mine.match(name)
    ]
    return sorted(of_it, key=lambda event: event_time(event) or 0.0)


def tensorboard(service: Object | None, pods: Iterable[Object], job: str) -> str:
    """http://node:port of the job's TensorBoard, "" where it has none, or where it runs nowhere yet."""
    ports = ((service or {}).get("spec") or {}).get("ports") or ()
    port = next((row["nodePort"] for row in ports if row.get("nodePort")), None)
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        host = (pod.get("status") or {}).get("hostIP")
        if port and host and labels.get("role") == "tensorboard" and labels.get("release") == job:
            return f"http://{host}:{port}"
    return ""
