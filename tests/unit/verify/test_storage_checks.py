"""Suite storage on what its pods told, recorded in a lab: as it was it passes, and each broken promise is found."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import scratch, storage
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome
from arena_install.verify.needs import DEFAULT_CLASS
from arena_install.verify.registry import load
from arena_install.verify.session import Session

FOLDER = "/opt/local-path-provisioner/pvc-7d17_arena-verify_data"
SHA = "ce811cc3e6076c464d1d05840239d7ddaa26e9295dc582eb12792734b129e093"
WRITER = f"""user 65532 65532
write ok
owner 65532 65532
sha {SHA}
size overlay          264212084 55514424  39986840      59% /data
fsync ok
rename ok
flock ok
"""
READER = f"sha {SHA}\ntotal 4356\n-rw-r--r-- 1 65532 65532       0 Nov 22 22:56 held\n"
SCRATCH = """shm-size tmpfs               262144     0    262144       0% /dev/shm
shm ok
scratch-size /dev/vda         264212084 55503712  39997552      59% /scratch
scratch ok
"""


def storage_class(name: str, *, default: bool = False) -> dict[str, Any]:
    notes = {DEFAULT_CLASS: "true"} if default else {}
    return {"metadata": {"name": name, "annotations": notes}, "provisioner": "rancher.io/local-path"}


def volume(**source: Any) -> dict[str, Any]:
    source = source or {"hostPath": {"path": FOLDER}}
    return {"metadata": {"name": "pvc-7d17"}, "spec": {"storageClassName": "local-path", **source}, "status": {}}


FOUND = storage.describe(volume(), "w1", [storage_class("local-path")], {"writer": WRITER, "reader": READER})


@pytest.fixture
def run(session: Session) -> Callable[..., Outcome]:
    """run(check id, what is known of the volume)."""

    def one(id: str, found: storage.Volume = FOUND) -> Outcome:
        session.shared["storage.claim"] = found
        check = load()[id]
        return check.run(Context(session, check))

    return one


def said(**lines: str) -> storage.Volume:
    return replace(FOUND, said={**FOUND.said, **lines})


@pytest.mark.parametrize("id", ["storage.permissions", "storage.data", "storage.files", "storage.capacity"])
def test_a_good_volume_passes(run: Callable[..., Outcome], id: str) -> None:
    assert run(id).status == "pass"


@pytest.mark.parametrize(
    ("id", "found", "cause"),
    [
        ("storage.permissions", said(write="denied: touch: mine: Permission denied"), "only root may write"),
        ("storage.permissions", replace(FOUND, said={}), "only root may write"),
        ("storage.permissions", said(owner="65534 65534"), "maps users"),
        ("storage.data", replace(FOUND, read="0" * 64), "lost or changed"),
        ("storage.data", replace(FOUND, read="", said={}), "lost or changed"),
        ("storage.files", said(flock="failed: a free lock could not be taken in 10 s"), "flock: failed: a free lock"),
        ("storage.files", replace(FOUND, said={"rename": "ok"}), "fsync: not reached (data are on the disk"),
        ("storage.capacity", said(size="tmpfs 16384 0 16384 0% /data"), "gave less than the claim says"),
        ("storage.capacity", said(size="df: /data: no such file"), "no such file"),
    ],
)
def test_a_broken_promise_is_found(run: Callable[..., Outcome], id: str, found: storage.Volume, cause: str) -> None:
    outcome = run(id, found)
    assert outcome.status == "fail"
    assert cause in outcome.cause
    assert outcome.fix


def test_size_that_is_not_enforced_is_said(run: Callable[..., Outcome]) -> None:
    outcome = run("storage.capacity")
    assert "does not enforce" in outcome.observed
    assert outcome.data == {"total_mib": 258019, "free_mib": 39049}
    assert run("storage.capacity", said(size="/dev/sdb 65536 0 65536 0% /data")).observed == "64 MiB"


class Answers:
    """An API that answers by path: an object, a list, or None for 404. deleted: the paths of DELETE requests."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.deleted = answers, list[str]()

    def items(self, path: str, **_: object) -> list[dict[str, Any]]:
        return list(self.answers.get(path, ()))

    def find(self, path: str, **_: object) -> dict[str, Any] | None:
        return self.answers.get(path)

    get = find

    def delete(self, path: str, **_: object) -> None:
        self.deleted.append(path)


@pytest.mark.parametrize(
    ("classes", "status", "text"),
    [
        ([storage_class("a", default=True), storage_class("b")], "pass", "a (rancher.io/local-path"),
        ([storage_class("a", default=True), storage_class("b", default=True)], "fail", "2 are the default: a, b"),
        ([storage_class("a")], "fail", "none is the default"),
        ([], "fail", "none is the default"),
    ],
)
def test_exactly_one_default(session: Session, classes: list[Any], status: str, text: str) -> None:
    kube: Any = Answers({"/apis/storage.k8s.io/v1/storageclasses": classes})
    session.kube = kube
    check = load()["storage.default-class"]
    outcome = check.run(Context(session, check))
    assert outcome.status == status
    assert outcome.observed.startswith(text)


@pytest.fixture
def context(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    """context(check id, API's answers, log of every pod that is run)."""

    def make(id: str, answers: dict[str, Any], log: str = "") -> Context:
        kube: Any = Answers(answers)
        session.kube = kube
        session.shared["storage.claim"] = FOUND
        monkeypatch.setattr(session.workspaces, "get", lambda level: f"space-{level}")
        monkeypatch.setattr(pods, "run_all", lambda _, __, made: {pod["metadata"]["name"]: log for pod in made})
        monkeypatch.setattr(Context, "wait", _at_once)
        return Context(session, load()[id])

    return make


def _at_once(self: Context, look: Callable[[], object], what: str, **_: object) -> object:
    if (found := look()) is None:
        raise TimedOutError(what)
    return found


@pytest.mark.parametrize(
    ("answers", "log", "status", "text"),
    [
        ({}, f"gone {FOLDER}\n", "pass", "both are gone"),
        ({}, f"there {FOLDER}\ntotal 4\n-rw 1 65532 random\n", "fail", "w1: " + FOLDER),
        (
            {"/api/v1/persistentvolumes/pvc-7d17": volume() | {"status": {"phase": "Released"}}},
            "",
            "fail",
            "did not remove",
        ),
    ],
)
def test_nothing_stays(
    context: Callable[..., Context], answers: dict[str, Any], log: str, status: str, text: str
) -> None:
    ctx = context("storage.removed", answers, log)
    outcome = ctx.check.run(ctx)
    assert outcome.status == status
    assert text in (outcome.cause or outcome.observed)
    kube: Any = ctx.kube
    assert kube.deleted == ["/api/v1/namespaces/space-restricted/persistentvolumeclaims/data"]


def test_a_claim_that_nobody_serves_tells_its_own_story(context: Callable[..., Context]) -> None:
    base = "/api/v1/namespaces/n"
    event = {"involvedObject": {"kind": "PersistentVolumeClaim", "name": "data"}, "type": "Normal"}
    event |= {"reason": "ExternalProvisioning", "message": "Waiting for a volume to be created"}
    answers = {
        f"{base}/persistentvolumeclaims/data": {"status": {"phase": "Pending"}, "metadata": {}},
        f"{base}/events": [event],
    }
    ctx = context("storage.claim", answers)
    told = storage._unserved(ctx, "n", CheckFailed("pod writer is Unschedulable", cause="x", fix="y"))
    assert told.what == "the claim is Pending"
    assert "Waiting for a volume" in told.why and "provision" in told.fix


def test_where_a_volume_is() -> None:
    logs = {"writer": WRITER, "reader": READER}
    assert (FOUND.path, FOUND.provisioner, FOUND.read) == (FOLDER, "rancher.io/local-path", SHA)
    assert storage.describe(volume(local={"path": "/mnt/a"}), "w1", [], logs).path == "/mnt/a"
    elsewhere = storage.describe(volume(nfs={"server": "s", "path": "/export"}), "w1", [], logs)
    assert (elsewhere.path, elsewhere.provisioner) == ("", "unknown")


@pytest.mark.parametrize(
    ("log", "status", "cause"),
    [
        (SCRATCH, "pass", ""),
        (SCRATCH.replace("262144     0    262144", "65536      0     65536"), "fail", "/dev/shm has 64 MiB"),
        (SCRATCH.replace("shm ok", "shm failed: dd: No space left"), "fail", "shared memory: failed: dd: No space"),
        ("shm-size tmpfs 262144 0 262144 0% /dev/shm\nshm ok\n", "fail", "scratch space: not reached"),
    ],
)
def test_room_for_a_job(
    context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, log: str, status: str, cause: str
) -> None:
    monkeypatch.setattr(scratch, "workers", lambda _: ["w1", "w2"])
    ctx = context("storage.scratch", {}, log)
    outcome = ctx.check.run(ctx)
    assert outcome.status == status
    assert cause in outcome.cause
    if status == "fail":
        assert outcome.cause.startswith("w1: ") and "on host w1" in outcome.fix


def test_the_scripts_tell_the_truth_where_they_can_run(tmp_path: Path) -> None:
    """On this machine's own file system, which keeps all promises; without the folder, nothing is told."""
    script = storage.WRITER.replace("cd /data", f"cd {tmp_path}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    told = storage.told(done.stdout)
    assert {key: told[key] for key in storage.PROMISES} == dict.fromkeys(storage.PROMISES, "ok")
    assert len(told["sha"]) == 64 and storage.mib(told["size"])
    nowhere = storage.WRITER.replace("cd /data", f"cd {tmp_path}/none")
    assert subprocess.run(["sh", "-c", nowhere], capture_output=True, text=True, check=True).stdout == ""


def test_a_lock_that_somebody_else_holds_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with subprocess.Popen(["flock", str(tmp_path / "lock"), "sleep", "60"]) as holder:
        script = storage.WRITER.replace("cd /data", f"cd {tmp_path}").replace("-lt 10", "-lt 1")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
        holder.terminate()
    assert "a free lock could not be taken" in storage.told(done.stdout)["flock"]
