"""TFJobs on what clusters told: a job as it should be passes, and each broken promise is found."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena_install.artifacts import load_lock
from arena_install.pipeline.setting import Wishes, lab_names, read_config
from arena_install.verify import images_for, pods, tfjob
from arena_install.verify.checks import jobs
from arena_install.verify.checks import training_tensorflow as tensorflow
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object
from arena_install.verify.needs import UNKNOWN, Facts, unmet
from arena_install.verify.registry import load
from arena_install.verify.run import _is_meant
from arena_install.verify.session import Session
from arena_install.verify.tfjob import Job
from arena_install.verify.trained import Training

SERVED = Job("tf-ps", ["python3"], {"Chief": 1, "PS": 1, "Worker": 2}, ["w1", "w2"], claim="checkpoint")
EQUAL = Job("tf-mirrored", ["python3"], {"Worker": 2}, ["w1", "w2"], success="AllWorkers")
SPACE, DOMAIN = "arena-verify-abc", "cluster.local"
UUID = {"tf-ps-worker-0": "GPU-0", "tf-ps-worker-1": "GPU-1", "tf-mirrored-worker-0": "GPU-0"}


def told(job: Job, pod: str, suffix: str = "") -> dict[str, Any]:
    """TF_CONFIG as training-operator v1.9.4 writes it (pkg/controller.v1/tensorflow/tensorflow.go)."""
    cluster: dict[str, list[str]] = {}
    for name, (kind, _) in job.pods().items():
        cluster.setdefault(kind, []).append(f"{name}.{SPACE}.svc{suffix}:2222")
    kind, index = job.pods()[pod]
    return {"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"}


def training(job: Job) -> Training:
    done = Training(job.world)
    for number, (pod, (kind, index)) in enumerate(job.pods().items()):
        done.pods[pod] = f"w{number % 2 + 1}"
        gpus = [f"GPU-{index}"] if kind == "worker" else []
        rows: list[dict[str, Any]] = [
            {"kind": "tf_config", "config": told(job, pod)},
            {"kind": "gpus", "uuids": gpus, "error": ""},
            {"kind": "start", "data": "7b7b", "compute": "cpu"},
        ]
        if gpus:
            done.assigned[pod] = {tuple(gpus)}
        done.logs[pod] = rows
    return done


def served() -> Training:
    done = training(SERVED)
    rows: list[dict[str, Any]] = [{"kind": "epoch", "epoch": n, "loss": 1 / n, "accuracy": 0.9} for n in (1, 2, 3)]
    steps = {"tf-ps-worker-0": 90, "tf-ps-worker-1": 96}
    final = {"kind": "final", "steps": steps, "servers": ["/job:ps/replica:0/task:0/device:CPU:0"]}
    done.logs["tf-ps-chief-0"] += [*rows, {**final, "accuracy": 0.95, "held_out": 2000, "hash": "df03"}]
    return done


def equal() -> Training:
    done = training(EQUAL)
    for rank in (0, 1):
        rows: list[dict[str, Any]] = [{"kind": "epoch", "rank": rank, "epoch": n, "loss": 1 / n} for n in (1, 2)]
        final = {"kind": "final", "rank": rank, "samples": 4000, "accuracy": 0.94, "held_out": 2000, "hash": "e573"}
        done.logs[f"tf-mirrored-worker-{rank}"] += [*rows, final]
    return done


RESTORED = {"hash": "df03", "before": "ca2e", "accuracy": 0.95, "held_out": 2000}


def problems(done: Training, restored: dict[str, Any] = RESTORED) -> list[str]:
    return [
        *tensorflow.common(SERVED, SPACE, DOMAIN, done, 3),
        *tensorflow.served(SERVED, done),
        *tensorflow.kept(done, restored),
    ]


def test_a_job_as_it_should_be_passes() -> None:
    assert problems(served()) == []
    assert [*tensorflow.common(EQUAL, SPACE, DOMAIN, equal(), 2), *tensorflow.agreed(equal())] == []


def test_addresses_may_end_with_the_clusters_domain() -> None:
    for pod in SERVED.pods():
        assert tfjob.misled(SERVED, SPACE, DOMAIN, pod, told(SERVED, pod)) == []
        assert tfjob.misled(SERVED, SPACE, DOMAIN, pod, told(SERVED, pod, ".cluster.local")) == []
    (first, *_) = tfjob.misled(SERVED, SPACE, DOMAIN, "tf-ps-chief-0", told(SERVED, "tf-ps-chief-0", ".else.local"))
    assert "chief is tf-ps-chief-0.arena-verify-abc.svc.else.local:2222, the job makes it tf-ps-chief-0" in first


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("cluster", "worker"), ["tf-ps-worker-0.arena-verify-abc.svc:2222"], "worker is tf-ps-worker-0"),
        (("cluster", "ps"), [], "ps is nobody, the job makes it tf-ps-ps-0"),
        (("cluster", "evaluator"), ["a.b.svc:2222"], "evaluator is a.b.svc:2222, the job makes it nobody"),
        (("task", "index"), 1, "says it is worker 1, it is worker 0"),
        (("task", "type"), "chief", "says it is chief 0, it is worker 0"),
    ],
)
def test_what_a_replica_is_told_wrong_is_found(path: tuple[str, str], value: Any, cause: str) -> None:
    given = told(SERVED, "tf-ps-worker-0")
    given[path[0]][path[1]] = value
    (problem,) = tfjob.misled(SERVED, SPACE, DOMAIN, "tf-ps-worker-0", given)
    assert cause in problem and problem.startswith("tf-ps-worker-0: TF_CONFIG says")
    assert len(tfjob.misled(SERVED, SPACE, DOMAIN, "tf-ps-worker-0", {})) == 4, "three types, and the task"


def change(done: Training, pod: str, kind: str, **more: Any) -> Training:
    done = copy.deepcopy(done)
    next(row for row in done.logs[pod] if row["kind"] == kind).update(more)
    return done


@pytest.mark.parametrize(
    ("pod", "kind", "more", "cause"),
    [
        ("tf-ps-worker-1", "start", {"data": "other"}, "2 different sets of digits"),
        ("tf-ps-chief-0", "epoch", {"loss": 0.4}, "did not fall in every epoch: 0.400, 0.500, 0.333"),
        ("tf-ps-chief-0", "final", {"accuracy": 0.5}, "50.0% of 2000 held-out digits"),
        ("tf-ps-chief-0", "final", {"held_out": 3}, "of 3 held-out digits"),
        ("tf-ps-chief-0", "final", {"steps": {"tf-ps-worker-0": 186}}, "tf-ps-worker-1 computed no step"),
        ("tf-ps-chief-0", "final", {"steps": {"tf-ps-worker-0": 1, "tf-ps-worker-1": 1}}, "not 186 in all"),
        ("tf-ps-chief-0", "final", {"servers": ["/job:chief/task:0"]}, "not on the parameter server"),
        ("tf-ps-chief-0", "final", {"hash": "1234"}, "reads back as df03, the job wrote 1234"),
        ("tf-ps-worker-0", "gpus", {"uuids": []}, "sees no GPU"),
        ("tf-ps-worker-0", "gpus", {"uuids": ["GPU-1"]}, "was assigned GPU-0"),
        ("tf-ps-worker-0", "gpus", {"uuids": ["GPU-0", "GPU-1"]}, "sees 2"),
    ],
)
def test_each_broken_promise_is_found(pod: str, kind: str, more: dict[str, Any], cause: str) -> None:
    assert any(cause in problem for problem in problems(change(served(), pod, kind, **more)))


def test_replicas_that_say_nothing_are_found() -> None:
    done = served()
    done.logs["tf-ps-ps-0"] = []
    assert problems(done) == ["tf-ps-ps-0 reported nothing"]
    done.logs["tf-ps-chief-0"] = []
    assert {"0 of 3 epochs were reported", "nobody reported an end of training"} <= set(problems(done))


def test_a_checkpoint_that_was_not_read_is_found() -> None:
    assert problems(served(), {}) == ["the pod that reads the checkpoint reported nothing"]
    assert problems(served(), {**RESTORED, "before": "df03"}), "it began with what it should read"
    assert "recognises 50.0%, in the job 95.0%" in problems(served(), {**RESTORED, "accuracy": 0.5})[0]


def test_workers_that_trained_apart_are_found() -> None:
    apart = change(equal(), "tf-mirrored-worker-1", "final", hash="0000")
    assert "parameter hashes are worker 0 e573, worker 1 0000" in tensorflow.agreed(apart)[0]
    silent = equal()
    silent.logs["tf-mirrored-worker-1"] = []
    assert "worker 0 e573" in tensorflow.agreed(silent)[0]
    whole = change(equal(), "tf-mirrored-worker-1", "final", samples=8000)
    assert tensorflow.agreed(whole) == ["the workers trained on [4000, 8000] digits, not on 4000 each"]


def test_what_is_asked_for(session: Session) -> None:
    ctx = Context(session, load()["training.tfjob"])
    body = tfjob.manifest(ctx, SERVED, "payload")
    assert body["spec"]["runPolicy"]["cleanPodPolicy"] == "None", "logs are read after the end"
    assert {kind: row["replicas"] for kind, row in body["spec"]["tfReplicaSpecs"].items()} == SERVED.replicas
    for kind, row in body["spec"]["tfReplicaSpecs"].items():
        (container,) = row["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow", "the operator gives TF_CONFIG to this one alone"
        assert container["image"] == pods.TENSORFLOW
        assert container["resources"]["limits"].get("nvidia.com/gpu") == ("1" if kind == "Worker" else None)
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert ("/checkpoint" in mounts) is (kind == "Chief")
    assert tfjob.manifest(ctx, EQUAL, "payload")["spec"]["successPolicy"] == "AllWorkers"


def test_a_job_whose_replicas_are_told_nonsense_is_not_waited_for(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = Context(session, load()["training.tfjob"])
    logs: dict[str, str] = {}
    there: list[Object] = [{"metadata": {"name": pod}} for pod in SERVED.pods()]
    monkeypatch.setattr(pods, "found", lambda *_: there)
    monkeypatch.setattr(tfjob, "records", lambda log, _: [{"config": told(SERVED, log, suffix)}] if log else [])

    class Api:
        def logs(self, _: str, pod: str) -> str:
            return logs.get(pod, "")

    ctx.kube = Api()  # type: ignore[assignment]
    ended, suffix = tfjob.Ended(ctx, SERVED, SPACE), ""
    assert ended({}) == "" and ended.heard == set()
    logs["tf-ps-ps-0"] = "tf-ps-ps-0"
    assert ended({}) == "" and ended.heard == {"tf-ps-ps-0"}
    logs["tf-ps-chief-0"], suffix = "tf-ps-chief-0", ".elsewhere.local"
    with pytest.raises(CheckFailed, match="TF_CONFIG is not what the job's spec makes it"):
        ended({})
    condition = {"type": "Succeeded", "status": "True"}
    assert ended({"status": {"conditions": [condition]}}) == "done"
    assert ended({"status": {"conditions": [{**condition, "type": "Failed", "message": "no"}]}}) == "no"


def test_a_job_that_fails_gives_its_gpus_back(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = Context(session, load()["training.tfjob"])
    deleted: list[str] = []

    class Api:
        def delete(self, path: str) -> None:
            deleted.append(path)

    def fails(*_: Any, **__: Any) -> Object:
        raise CheckFailed("the job failed", cause="a replica died", fix="look")

    ctx.kube = Api()  # type: ignore[assignment]
    monkeypatch.setattr(session.workspaces, "payload", lambda _: "payload")
    monkeypatch.setattr(session.readers, "start", lambda *_: None)
    monkeypatch.setattr(jobs, "submit", lambda *_: None)
    monkeypatch.setattr(jobs, "finish", fails)
    with pytest.raises(CheckFailed, match="the job failed"):
        tensorflow._train(ctx, SERVED, SPACE)
    assert deleted == [f"/apis/kubeflow.org/v1/namespaces/{SPACE}/tfjobs/tf-ps"]


def test_only_profile_full_has_the_image() -> None:
    assert pods.TENSORFLOW not in images_for(["training", "gpu"])
    assert pods.TENSORFLOW in images_for(["training"], "full") and pods.TENSORFLOW not in images_for(["quick"], "full")
    assert load_lock().find(pods.TENSORFLOW).name == pods.TENSORFLOW
    for profile, has in (("minimal", False), ("full", True)):
        wishes = Wishes(profile=profile)
        assert (pods.TENSORFLOW in lab_names(read_config(wishes), wishes, lambda _: None)) is has


def test_clusters_without_the_image_are_not_asked_unless_by_name() -> None:
    checks = [load()[id] for id in ("training.tfjob", "training.tfjob-multiworker")]
    bare = Facts(("w1",), True, "local-path", True)
    has = replace(bare, images=frozenset({pods.TENSORFLOW}))
    for check in checks:
        assert not _is_meant(check, (), bare)
        assert _is_meant(check, (check.id,), bare), "then it is skipped, and says why"
        assert _is_meant(check, (), has) and _is_meant(check, (), UNKNOWN)
        assert _is_meant(check, (), replace(bare, lock=False)), "not known: said as a skip"
    assert _is_meant(load()["training.job"], (), bare)
    reason, fix = unmet("image:verify-tensorflow", bare) or ("", "")
    assert "only profile full has" in reason and fix == "arena-install up --profile full"
    assert unmet("image:verify-tensorflow", has) is None


def test_payloads_speak_before_tensorflow_is_imported() -> None:
    """It is imported once the replica has said what it was told: a wrong TF_CONFIG shows within seconds."""
    folder = Path(tfjob.__file__).parent / "payloads"
    for file in folder.glob("tf_*.py"):
        head = file.read_text().split("def main")[0]
        assert "import tensorflow" not in head, file.name
