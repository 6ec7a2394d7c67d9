"""Crons: Kubernetes' CronJobs with arena's label, and the TFJobs that they made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from arena_cli import find, record
from arena_cli.flags import Given
from arena_cli.kube.client import Client, at
from arena_cli.look import formats, text
from arena_cli.look.model import Job, Object
from arena_cli.session import Session
from arena_cli.verbs.words import one_word, some_words
from arena_install.errors import ArenaError, ConfigError, ErrorGroup
from arena_install.suggest import did_you_mean

TYPE = "cron-tfjob"
_LABEL = "createdBy=Cron"


def as_dict(cron: Object) -> dict[str, object]:
    meta, spec = cron["metadata"], cron["spec"]
    return {
        "uuid": meta.get("uid", ""),
        "name": meta["name"],
        "namespace": meta["namespace"],
        "type": "tfjob",
        "schedule": spec["schedule"],
        "concurrencyPolicy": spec.get("concurrencyPolicy", "Allow"),
        "suspend": bool(spec.get("suspend")),
        "deadline": "",
        "historyLimit": spec.get("successfulJobsHistoryLimit", 0),
        "lastScheduleTime": (cron.get("status") or {}).get("lastScheduleTime", ""),
    }


def table(crons: list[Object], *, everywhere: bool) -> str:
    header = ["NAME", "TYPE", "SCHEDULE", "SUSPEND", "DEADLINE", "CONCURRENCYPOLICY"]
    found = [as_dict(cron) for cron in crons]
    rows = [
        [
            str(row["name"]),
            "TFJOB",
            str(row["schedule"]),
            str(row["suspend"]).lower(),
            "N/A",
            str(row["concurrencyPolicy"]),
        ]
        for row in found
    ]
    if everywhere:
        header, rows = (
            ["NAMESPACE", *header],
            [[str(row["namespace"]), *cells] for row, cells in zip(found, rows, strict=True)],
        )
    return text.table(header, rows)


def page(cron: Object, jobs: list[Job], now: float) -> str:
    row = as_dict(cron)
    head = [
        ("Name", str(row["name"])),
        ("Namespace", str(row["namespace"])),
        ("Type", "TFJOB"),
        ("Schedule", str(row["schedule"])),
        ("Suspend", str(row["suspend"]).lower()),
        ("ConcurrencyPolicy", str(row["concurrencyPolicy"])),
        ("HistoryLimit", str(row["historyLimit"])),
        ("LastSchedule", str(row["lastScheduleTime"]) or "N/A"),
    ]
    rows = [
        [job.name, job.status, job.type.upper(), text.local(job.created), text.local(job.end) or "N/A"] for job in jobs
    ]
    return f"{text.pairs(head)}\nHistory:\n" + text.ruled(["NAME", "STATUS", "TYPE", "CREATETIME", "FINISHTIME"], rows)


def show_all(given: Given) -> None:
    session = Session(given)
    crons = session.client.items(at("batch/v1", "cronjobs", session.scope), labelSelector=_LABEL)
    crons.sort(key=lambda cron: (str(cron["metadata"]["namespace"]), str(cron["metadata"]["name"])))
    form = given.text("output")
    if form == "name":
        sys.stdout.write("".join(f"cronjob.batch/{cron['metadata']['name']}\n" for cron in crons))
    elif form == "wide":
        sys.stdout.write(table(list(crons), everywhere=not session.scope))
    else:
        rows = [as_dict(cron) for cron in crons]
        sys.stdout.write(text.as_json(rows) if form == "json" else text.as_yaml(rows))


def show(given: Given) -> None:
    session, name = Session(given), one_word(given, "cron get", "NAME")
    cron = _one(session.client, session.namespace, name)
    jobs = [
        job
        for job in find.jobs(session.client, session.namespace, "tfjob")
        if (job.raw["metadata"].get("labels") or {}).get("cron") == name
    ]
    form = given.text("output")
    if form == "name":
        print(f"cronjob.batch/{name}")
    elif form == "wide":
        sys.stdout.write(page(cron, jobs, time.time()))
    else:
        row = {**as_dict(cron), "history": [formats.as_dict(job, time.time()) for job in jobs]}
        sys.stdout.write(text.as_json(row) if form == "json" else text.as_yaml(row))


def suspend(given: Given, on: bool) -> None:
    session = Session(given)

    def one(name: str) -> None:
        _one(session.client, session.namespace, name)
        session.client.patch(at("batch/v1", "cronjobs", session.namespace, name), {"spec": {"suspend": on}})
        print(f"cron {name} {'suspend' if on else 'resume'} success")

    _each(some_words(given, f"cron {'suspend' if on else 'resume'}", "NAME..."), one)


def delete(given: Given) -> None:
    from arena_cli.remove import remove

    session = Session(given)

    def one(name: str) -> None:
        client, namespace = session.client, session.namespace
        note = client.find(at("v1", "configmaps", namespace, record.name(name, TYPE)))
        if note is None:
            _one(client, namespace, name)
            client.delete(at("batch/v1", "cronjobs", namespace, name))
        else:
            remove(client, namespace, name, TYPE)
        print(f"The cron {name} has been deleted successfully")

    _each(some_words(given, "cron delete", "NAME..."), one)


def _each(names: tuple[str, ...], act: Callable[[str], None]) -> None:
    errors: list[ArenaError] = []
    for name in names:
        try:
            act(name)
        except ArenaError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorGroup(errors)


def _one(client: Client, namespace: str, name: str) -> Object:
    path = at("batch/v1", "cronjobs", namespace)
    found = client.find(at("batch/v1", "cronjobs", namespace, name))
    if found is None or (found["metadata"].get("labels") or {}).get("createdBy") != "Cron":
        names = [str(row["metadata"]["name"]) for row in client.items(path, labelSelector=_LABEL)]
        raise ConfigError(
            f"there is no cron {name} in namespace {namespace}",
            fix=did_you_mean(name, names) if names else "arena cron tfjob makes one",
        )
    return found
