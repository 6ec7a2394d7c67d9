"""Tables, pages and JSON of a small cluster, as the files in shown/ have them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from world import EVENTS, JOBS, NODES, NOW, PODS, SERVICE, ago

from arena_cli import crons
from arena_cli.look import build, claims, formats, nodes, show, text
from arena_cli.look.model import Job

SHOWN = Path(__file__).parent / "shown"
NOW_SECONDS = NOW.timestamp()
MIB = 1024**2
GPUS = {
    "pt-run-master-0": {
        "0": {"gpuDutyCycle": 98.0, "usedGPUMemory": 15641.0 * MIB, "totalGPUMemory": 16276.0 * MIB},
        "1": {"gpuDutyCycle": 7.5, "usedGPUMemory": 2.0 * MIB, "totalGPUMemory": 16276.0 * MIB},
    }
}
CLAIM = {
    "metadata": {
        "name": "train",
        "namespace": "default",
        "creationTimestamp": ago(days=2),
        "annotations": {"description": "digits", "owner": "alice"},
    },
    "spec": {"accessModes": ["ReadWriteMany"]},
}
CRON = {
    "metadata": {"name": "nightly", "namespace": "default", "uid": "u", "labels": {"createdBy": "Cron"}},
    "spec": {"schedule": "0 3 * * *", "concurrencyPolicy": "Forbid", "suspend": False, "successfulJobsHistoryLimit": 3},
    "status": {"lastScheduleTime": "2026-11-22T03:00:00Z"},
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def jobs(namespace: str = "") -> list[Job]:
    listed = [
        (
            kind,
            [
                obj
                for obj in JOBS
                if (obj["apiVersion"], obj["kind"]) == (kind.api, kind.resource)
                and namespace in ("", obj["metadata"]["namespace"])
            ],
        )
        for kind, _ in build.resources()
    ]
    return build.jobs_of(listed, PODS)


def one(name: str) -> Job:
    return next(job for job in jobs() if job.name == name)


def pages() -> dict[str, str]:
    run, here = one("pt-run"), jobs("default")
    board = show.tensorboard(SERVICE, PODS, "pt-run")
    told = show.events_of(run, EVENTS)
    gpus = nodes.nodes_of(NODES, PODS)
    return {
        "list": formats.show_list(here, "wide", NOW_SECONDS, everywhere=False),
        "list-all-namespaces": formats.show_list(jobs(), "wide", NOW_SECONDS, everywhere=True),
        "list-empty": formats.show_list([], "wide", NOW_SECONDS, everywhere=False),
        "list-name": formats.show_list(here, "name", NOW_SECONDS, everywhere=False),
        "get": show.page(run, NOW_SECONDS, show.Page(tensorboard=board)),
        "get-events-gpus": show.page(run, NOW_SECONDS, show.Page(tensorboard=board, events=told, gpus=GPUS)),
        "get-no-events": show.page(run, NOW_SECONDS, show.Page(events=[])),
        "get-failed": show.page(
            one("theirs"),
            NOW_SECONDS,
            show.Page(reason="theirs-master-0 ended with exit code 1", log=["Traceback ...", "KeyError: 0"]),
        ),
        "get.json": text.as_json(formats.as_dict(run, NOW_SECONDS, board, GPUS)) + "\n",
        "get.yaml": text.as_yaml(formats.as_dict(one("theirs"), NOW_SECONDS, reason="it failed")),
        "top-node": nodes.top(gpus),
        "top-node-gpus-only": nodes.top([node for node in gpus if node.total and not node.unhealthy]),
        "top-node-named": nodes.top([node for node in gpus if node.name == "gpu-1"], footer=False),
        "top-node-details": nodes.details(gpus, None),
        "top-node-metric": nodes.details(gpus[:1], {"gpu-1": GPUS["pt-run-master-0"]}),
        "top-node.json": text.as_json(nodes.as_dict(gpus)) + "\n",
        "top-job": nodes.top_jobs(here, NOW_SECONDS, everywhere=False),
        "top-job-one": nodes.top_job(run, NOW_SECONDS, GPUS),
        "data-list": claims.table([CLAIM], NOW_SECONDS, everywhere=False),
        "data-list-all": claims.table([CLAIM], NOW_SECONDS, everywhere=True),
        "cron-list": crons.table([CRON], everywhere=False),
        "cron-get": crons.page(CRON, [one("tf-old")], NOW_SECONDS),
    }


@pytest.mark.parametrize("name", sorted(path.name.removesuffix(".txt") for path in SHOWN.glob("*")))
def test_page(name: str) -> None:
    assert pages()[name] == (SHOWN / f"{name}.txt").read_text()


def test_every_page_has_its_file() -> None:
    assert sorted(pages()) == sorted(path.name.removesuffix(".txt") for path in SHOWN.glob("*"))


def test_json_and_yaml_say_the_same() -> None:
    here = jobs("default")
    as_json = formats.show_list(here, "json", NOW_SECONDS, everywhere=False)
    as_yaml = formats.show_list(here, "yaml", NOW_SECONDS, everywhere=False)
    assert json.loads(as_json) == yaml.safe_load(as_yaml)
    assert not as_json.endswith("\n")


def test_an_appwrappers_parts_are_no_jobs_of_their_own() -> None:
    assert [job.type for job in jobs() if job.name == "aw"] == ["appwrapperjob"]


def test_the_label_tells_elastic_jobs_from_others() -> None:
    assert one("elastic").type == "etjob"


def test_a_running_job_with_a_pending_pod_is_pending() -> None:
    assert one("elastic").status == "PENDING"
    assert one("elastic").allocated == 1


def test_the_launcher_is_the_chief() -> None:
    chief = one("mpi-kubectl").chief
    assert chief is not None and chief.name == "mpi-kubectl-launcher-x"


def test_two_jobs_of_one_name_have_their_own_pods() -> None:
    pods = [
        {
            "metadata": {"name": f"x-{app}-0", "namespace": "default", "labels": {"release": "x", "app": app}},
            "spec": {},
            "status": {},
        }
        for app in ("tfjob", "pytorchjob")
    ]
    kinds = {kind.type: kind for kind, _ in build.resources()}
    obj = {"metadata": {"name": "x", "namespace": "default", "labels": {}}}
    mine = build.job_of(kinds["tfjob"], obj, pods)
    assert [one.name for one in mine.instances] == ["x-tfjob-0"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (7200, "2h"),
        (86400 * 3, "3d"),
        (86400 * 366, "1y"),
    ],
)
def test_ages(seconds: float, shown: str) -> None:
    assert text.age(seconds) == shown


if __name__ == "__main__":  # writes shown/
    import os

    os.environ["TZ"] = "UTC"
    time.tzset()
    SHOWN.mkdir(exist_ok=True)
    for name, page in pages().items():
        (SHOWN / f"{name}.txt").write_text(page)
