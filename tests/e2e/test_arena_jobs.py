"""Each kind of job that `arena submit` makes runs to its end in a cluster of ours, for somebody who is not its admin;
bad ones say why; and nothing of them is left.

No image of ours has Horovod or DeepSpeed in it: an MPI program stands for both, started over the same SSH by the same
operator, with the host files where those two look for them. All jobs are submitted first and run side by side.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import arena_user
import objects
import pytest
from arena_user import BUSYBOX, MPI, PYTORCH, Site, User, eventually

from arena_install.verify import payloads

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

#: Seconds until all jobs have ended, on two cores.
PATIENCE = 420
RING = "python3 /etc/arena/ring.py"
RANKS = "python3 /etc/arena/allreduce.py"
_MPI = (
    "--image", MPI, "--workers", "2", "--working-dir", "/home/mpi", "--ssh-home", "/home/mpi/.ssh",
    "--worker-command", "exec /usr/sbin/sshd -D -e -f /home/mpi/sshd_config",
    "--config-file", "allreduce.py:/etc/arena/allreduce.py",
)  # fmt: skip
_RING = ("--image", PYTORCH, "--gpus", "1", "--config-file", "ring.py:/etc/arena/ring.py")
_KEEP = ("--clean-task-policy", "None")  # also pods that still run when the master has ended

#: Name -> type, flags of `arena submit`, command.
GOOD: dict[str, tuple[str, tuple[str, ...], str]] = {
    "torch": ("pytorchjob", (*_RING, *_KEEP, "--workers", "2"), RING),
    "elastic": (
        "etjob",
        (*_RING, "--workers", "2", "--min-workers", "2", "--max-workers", "2", "--nproc-per-node", "1"),
        "torchrun /etc/arena/ring.py",
    ),
    "wrapped": ("appwrapperjob", (*_RING, *_KEEP, "--workers", "2", "--kueue-queue", "team"), RING),
    "wrapped-volcano": (
        "appwrapperjob",
        (*_RING, "--inner-type", "volcano", "--replicas", "2", "--kueue-queue", "team"),
        RING,
    ),
    "mpi": ("mpijob", _MPI, f"mpirun -np 2 {RANKS}"),
    "hvd": ("horovodjob", _MPI, f"mpirun -np 2 {RANKS}"),
    "deep": ("deepspeedjob", _MPI, f"cat /job/hostfile && mpirun -np 2 --hostfile /job/hostfile {RANKS}"),
    "tf": (
        "tfjob",
        ("--image", BUSYBOX, *_KEEP, "--workers", "2", "--ps", "1"),
        'echo "TF_CONFIG $TF_CONFIG"; nslookup $(hostname)',
    ),
    "gang": (
        "volcanojob",
        ("--task-images", BUSYBOX, "--task-replicas", "2", "--min-available", "2", "--task-cpu", "50m"),
        "hostname",
    ),
}
#: Name -> the same, and what `arena get` says of it.
BAD: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "no-image": (
        "pytorchjob",
        ("--image", "arena-install.local/missing:1.0"),
        "true",
        r"image: .*arena-install\.local/missing:1\.0",
    ),
    "too-big": (
        "appwrapperjob",
        ("--image", BUSYBOX, "--gpus", "5", "--kueue-queue", "team"),
        "true",
        r"quota: .*nvidia\.com/gpu",
    ),
    "fails": ("pytorchjob", ("--image", BUSYBOX), "echo no such data; exit 3", r"master-0.* ended with exit code 3"),
}


@pytest.fixture(scope="module")
def user(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    home = tmp_path_factory.mktemp("home")
    (home / "ring.py").write_text((Path(__file__).parent / "jobs/ring.py").read_text())
    folder = Path(payloads.__file__ or "").parent
    (home / "allreduce.py").write_text((folder / "allreduce.py").read_text())
    with ExitStack() as stack:
        found = stack.enter_context(arena_user.user(site, home))
        stack.enter_context(arena_user.queue(site, found.namespace, gpus=4))
        yield found


@pytest.fixture(scope="module")
def before(user: User) -> set[str]:
    return left(user)


@pytest.fixture(scope="module")
def submitted(user: User, before: set[str]) -> None:
    user.arena(
        "cron", "tfjob", "--name", "often", "--image", BUSYBOX, "--schedule", "*/1 * * * *", "--concurrency-policy",
        "Forbid", "echo by the clock",
    )  # fmt: skip
    for name, (type_, flags, command) in GOOD.items():
        said = user.arena("submit", type_, "--name", name, *flags, command)
        assert f"/{name} created" in said
    for name, (type_, flags, command, _) in BAD.items():
        user.arena("submit", type_, "--name", name, *flags, command)


def look(user: User, name: str, type_: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(user.arena("get", name, "--type", type_, "-o", "json"))
    return found


def ended(user: User, name: str, type_: str) -> dict[str, Any]:
    """The job as `arena get` has it when it has ended."""

    def done() -> dict[str, Any] | None:
        found = look(user, name, type_)
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    found: dict[str, Any] = eventually(done, f"{type_} {name} to end", PATIENCE)
    return found


@pytest.mark.usefixtures("submitted")
class TestGoodJobs:
    @pytest.mark.parametrize("name", GOOD)
    def test_it_succeeds(self, user: User, name: str) -> None:
        type_ = GOOD[name][0]
        found = ended(user, name, type_)
        assert found["status"] == "SUCCEEDED", user.arena("get", name, "--type", type_, "-e")
        assert found["trainer"] == type_

    @pytest.mark.parametrize("name", ["torch", "wrapped", "wrapped-volcano", "elastic"])
    def test_ranks_found_each_other(self, user: User, name: str) -> None:
        found = look(user, name, GOOD[name][0])
        logs = [user.arena("logs", name, "-i", one["name"]) for one in found["instances"]]
        lines = [line for log in logs for line in re.findall(r"rank.*gpus.*", log)]
        assert sorted(lines) == ["rank 0 of 2 sum 3 gpus 1", "rank 1 of 2 sum 3 gpus 1"]

    @pytest.mark.parametrize("name", ["mpi", "hvd", "deep"])
    def test_ranks_ran_in_the_workers(self, user: User, name: str) -> None:
        """Open MPI 5 would run all of them on the launcher, and the job would still succeed."""
        log = user.arena("logs", name)
        ranks = [json.loads(line.split(" ", 1)[1]) for line in log.splitlines() if line.startswith("ARENA-VERIFY")]
        assert [row["wrong"] for row in ranks] == [0, 0]
        assert Counter(row["pod"] for row in ranks) == {f"{name}-worker-0": 1, f"{name}-worker-1": 1}

    @pytest.mark.parametrize("name", ["mpi", "hvd", "deep"])
    def test_workers_go_when_the_job_has_ended(self, user: User, name: str) -> None:
        """Their sshd would run, and keep its GPUs, for ever."""
        ended(user, name, GOOD[name][0])
        labels = f"training.kubeflow.org/job-role=worker,training.kubeflow.org/job-name={name}"
        pods = ("get", "pods", "-n", user.namespace, "-l", labels, "-o", "name")
        eventually(lambda: user.site.kubectl(*pods) == "", f"the workers of {name} to go", 60)

    def test_deepspeed_finds_its_hosts(self, user: User) -> None:
        hosts = [line for line in user.arena("logs", "deep").splitlines() if "slots=" in line]
        assert [line.split(".")[0] for line in hosts] == ["deep-worker-0", "deep-worker-1"]

    def test_tensorflow_is_told_of_the_others(self, user: User) -> None:
        for role, index in (("worker", 0), ("worker", 1), ("ps", 0)):
            log = user.arena("logs", "tf", "-i", f"tf-{role}-{index}")
            told = json.loads(next(line for line in log.splitlines() if line.startswith("TF_CONFIG")).split(" ", 1)[1])
            assert told["task"] == {"type": role, "index": index}
            assert {key: len(hosts) for key, hosts in told["cluster"].items()} == {"worker": 2, "ps": 1}

    def test_a_cron_makes_jobs(self, user: User) -> None:
        def first() -> str:
            names = json.loads(user.arena("list", "-T", "tfjob", "-o", "json"))
            return next((row["name"] for row in names if row["name"].startswith("often-")), "")

        name = eventually(first, "the cron's first job", 90)
        assert ended(user, name, "tfjob")["status"] == "SUCCEEDED"
        assert "by the clock" in user.arena("logs", name, "--type", "tfjob")
        assert name in user.arena("cron", "get", "often")
        user.arena("cron", "delete", "often")

    def test_they_are_listed(self, user: User) -> None:
        rows = {row["name"]: row for row in json.loads(user.arena("list", "-o", "json"))}
        assert {name: rows[name]["status"] for name in GOOD} == dict.fromkeys(GOOD, "SUCCEEDED")
        assert {name: rows[name]["trainer"] for name in GOOD} == {name: GOOD[name][0] for name in GOOD}
        top = user.arena("top", "job")
        assert all(re.search(rf"^{name} ", top, re.MULTILINE) for name in GOOD)


@pytest.mark.usefixtures("submitted")
class TestBadJobs:
    @pytest.mark.parametrize("name", BAD)
    def test_it_says_why_in_one_line(self, user: User, name: str) -> None:
        type_, _, _, why = BAD[name]

        def reason() -> str:
            page = user.arena("get", name, "--type", type_)
            line = next((line for line in page.splitlines() if line.startswith("Reason:")), "")
            return line if re.search(why, line) else ""

        eventually(reason, f"a reason like {why!r} of {name}", PATIENCE)

    def test_the_last_words_of_what_failed_are_shown(self, user: User) -> None:
        assert ended(user, "fails", "pytorchjob")["status"] == "FAILED"
        assert "no such data" in user.arena("get", "fails", "--type", "pytorchjob")


def test_deleting_leaves_nothing(user: User, before: set[str], submitted: None) -> None:
    names = {**{name: row[0] for name, row in GOOD.items()}, **{name: row[0] for name, row in BAD.items()}}
    for name, type_ in names.items():
        user.arena("delete", name, "--type", type_)
    eventually(lambda: left(user) == before, "all that jobs made to go", 120)


def test_users_see_how_their_gpus_are_used(user: User) -> None:
    """By Prometheus, which they may ask and not look for."""
    user.arena("submit", "pytorchjob", "--name", "busy", "--image", BUSYBOX, "--gpus", "1", "sleep 600")

    def figures() -> str:
        page = user.arena("top", "job", "busy")
        return page if re.search(r"\d+\.\d%\s+\d+\.\d/\d+\.\d\(MiB\)", page) else ""

    try:
        eventually(figures, "the figures of its GPU", 120)
    finally:
        user.arena("delete", "busy", "--type", "pytorchjob")


def left(user: User) -> set[str]:
    return objects.take(user.site.kubectl, user.namespace)


def test_it_is_refused_elsewhere(user: User) -> None:
    """The user of these tests is really no administrator."""
    name = f"x{uuid.uuid4().hex[:4]}"
    done = user.shell(f"arena submit pytorchjob --name {name} -n default --image {BUSYBOX} true")
    assert done.returncode == 1
    assert "forbidden" in (done.stdout + done.stderr).lower()
