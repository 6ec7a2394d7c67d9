"""A newcomer's road, by the real command: nothing, then one command, then a trained model; and again with no change."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import as_user
import audit
import objects
import pytest
from mutations import choose, mutations

from apiserver_fixture import binary
from arena_install.lab.faults import find
from arena_install.stack import needed
from rehearsal import Rehearsal

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

NAME = f"t-up-{uuid.uuid4().hex[:4]}"


def arena(*arguments: str, timeout: float = 3600) -> subprocess.CompletedProcess[str]:
    """Run `arena-install` as a user would, showing plain progress."""
    return subprocess.run(
        [sys.executable, "-m", "arena_install", *arguments],
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of its own, the machine's cache; the lab is removed whatever happens."""
    folder = tmp_path_factory.mktemp("state")
    os.environ["ARENA_INSTALL_STATE"] = str(folder)
    try:
        yield folder
    finally:
        removed = arena("lab", "down", NAME, "--yes")
        del os.environ["ARENA_INSTALL_STATE"]
        assert removed.returncode == 0, removed.stdout + removed.stderr
        left = subprocess.run(
            ["podman", "ps", "-a", "-q", "--filter", f"label=arena-install.lab={NAME}"], capture_output=True, text=True
        )
        assert left.stdout == ""


@pytest.fixture(scope="module")
def first(state: Path) -> subprocess.CompletedProcess[str]:
    done = arena("up", "--name", NAME)
    print(done.stdout[-6000:], done.stderr[-4000:])
    return done


def cluster_folder(state: Path) -> Path:
    return state / "clusters" / NAME


def kubectl(state: Path, *arguments: str) -> str:
    tool = Path(sys.executable).parent / "kubectl"
    done = subprocess.run(
        [str(tool), "--kubeconfig", str(cluster_folder(state) / "kubeconfig"), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_one_command_makes_a_verified_cluster(first: subprocess.CompletedProcess[str], state: Path) -> None:
    assert first.returncode == 0, first.stdout[-8000:] + first.stderr[-4000:]
    assert "report.html" in first.stdout and "kubeconfig" in first.stdout
    assert "Traceback" not in first.stderr
    kubeconfig = cluster_folder(state) / "kubeconfig"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600


def test_report_has_evidence_that_training_worked(first: subprocess.CompletedProcess[str], state: Path) -> None:
    report = cluster_folder(state) / "runs/last/report"
    ctrf = json.loads((report / "ctrf.json").read_text())
    tests = {test["name"]: test["status"] for test in ctrf["results"]["tests"]}
    assert tests.pop("gpu.cuda") == "skipped", "simulated GPUs compute nothing"
    assert tests and set(tests.values()) == {"passed"}
    assert {"training.learns", "training.replicas-agree", "training.gpu-identity", "gpu.none-unasked"} <= set(tests)
    assert "simulated" in (report / "report.html").read_text()


def test_every_node_is_ready_and_gpus_are_allocatable(first: subprocess.CompletedProcess[str], state: Path) -> None:
    nodes = json.loads(kubectl(state, "get", "nodes", "-o", "json"))["items"]
    assert len(nodes) == 3
    assert sorted(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in nodes) == [0, 4, 4]


def test_every_image_of_every_pod_is_in_the_lock(first: subprocess.CompletedProcess[str], state: Path) -> None:
    locked = set(json.loads((cluster_folder(state) / "resolved.lock.json").read_text())["images"])
    pods = json.loads(kubectl(state, "get", "pods", "-A", "-o", "json"))["items"]
    used = {
        container["image"]
        for pod in pods
        for key in ("containers", "initContainers")
        for container in pod["spec"].get(key, ())
    }
    assert used and used <= locked


def test_plan_is_empty_and_second_up_changes_nothing(first: subprocess.CompletedProcess[str], state: Path) -> None:
    planned = arena("plan", "--name", NAME, "--detailed-exitcode", "--json")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    again = arena("up", "--name", NAME)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to change" in again.stdout


def test_whole_playbook_by_hand_changes_nothing(first: subprocess.CompletedProcess[str], state: Path) -> None:
    """Ansible's own idempotence is the oracle of the plan."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(state / "labs" / NAME / "hosts.ini"),
            "-e",
            f"arena_cluster_name={NAME}",
            "playbooks/site.yml",
        ],
        cwd=root,
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "playbooks/ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    recap = [line for line in done.stdout.splitlines() if "changed=" in line]
    assert len(recap) >= 3 and all("changed=0" in line and "failed=0" in line for line in recap), "\n".join(recap)


def shell(host: str, command: str) -> str:
    done = arena("lab", "shell", NAME, host, "--", command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def recorded() -> dict[str, str]:
    """host -> kind|name|state lines of all its roles."""
    return {host: shell(host, "cat /var/lib/arena-install/roles/*/items") for host in ("cp1", "w1", "w2")}


def test_fifty_damaged_items_are_named_one_by_one_and_mended(
    first: subprocess.CompletedProcess[str], state: Path
) -> None:
    seed = int(os.environ.get("ARENA_TEST_SEED", "") or random.randrange(10**6))
    print(f"ARENA_TEST_SEED={seed}")
    before = recorded()
    everything = {host: mutations(f"{NAME}-{host}", text.splitlines()) for host, text in before.items()}
    chosen = choose(everything, 50, random.Random(seed))
    for host in before:
        shell(host, " && ".join(f"{{ {row.command}; }}" for row in chosen if row.host == f"{NAME}-{host}"))
    planned = arena("plan", "--name", NAME, "--detailed-exitcode", "--json")
    assert planned.returncode == 4, planned.stdout + planned.stderr
    found = json.loads(planned.stdout)
    named = {(row["host"], reason["item"]) for row in found["roles"] for reason in row["reasons"]}
    assert named == {(row.host, row.item) for row in chosen}
    assert {reason["why"] for row in found["roles"] for reason in row["reasons"]} == {"drift"}
    assert found["components"] == []
    mended = arena("up", "--name", NAME, "--verify", "quick")
    assert mended.returncode == 0, "\n".join(map(str, chosen)) + mended.stdout[-6000:] + mended.stderr
    assert recorded() == before, chosen
    again = arena("plan", "--name", NAME, "--detailed-exitcode", "--json")
    assert again.returncode == 0, again.stdout + again.stderr


def test_every_image_came_from_the_local_registry(first: subprocess.CompletedProcess[str], state: Path) -> None:
    """The registry's own log names every manifest that nodes asked for; what runs is among them."""
    log = shell("cp1", "journalctl -u docker-registry --no-pager -o cat")
    locked = json.loads((cluster_folder(state) / "resolved.lock.json").read_text())["images"]
    pods = json.loads(kubectl(state, "get", "pods", "-A", "-o", "json"))["items"]
    used = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    for reference in used:
        repository, _, tag = reference.rpartition(":")
        asked = [line for line in log.splitlines() if f"/v2/{repository}/manifests/" in line and "containerd" in line]
        assert any(tag in line or locked[reference]["manifest"] in line for line in asked), reference


@pytest.mark.parametrize("name", ["image-not-locked", "kubelet-other-version", "gpu-unannounced", "label-wrong"])
def test_checks_fail_under_a_fault_and_pass_after_it(
    first: subprocess.CompletedProcess[str], state: Path, name: str
) -> None:
    """A few quick ones; `make faults` runs them all."""
    rehearsal = Rehearsal(NAME, narrow=True)
    try:
        assert rehearsal.run(find(name)).problems == []
    finally:
        rehearsal.mend_all()


def test_a_user_is_made_trains_and_goes_without_a_trace(
    first: subprocess.CompletedProcess[str], state: Path, tmp_path: Path
) -> None:
    """By the commands alone; of the running job, the cluster's objects know nothing afterwards."""
    before = objects.take(partial(kubectl, state))
    made = arena("user", "add", "alice", "--gpus", "2", "--name", NAME, "--json", "-o", str(tmp_path / "alice"))
    assert made.returncode == 0, made.stdout + made.stderr
    helm, told = binary("helm"), json.loads(made.stdout)
    assert helm is not None and Path(told["kubeconfig"]).stat().st_mode & 0o777 == 0o600
    person = as_user.Person(tmp_path / "alice", tmp_path, helm)
    as_user.train(person, told["queue"]["local_queue"] if told["queue"] else "")
    assert [question for question in as_user.FORBIDDEN if person.may(question)] == []
    assert [question for question in as_user.ALLOWED if not person.may(question)] == []
    again = arena("user", "add", "alice", "--name", NAME, "--json", "-o", str(tmp_path / "alice"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert {row["outcome"] for row in json.loads(again.stdout)["done"]} == {"there"}

    def listed() -> tuple[object, object]:
        (row,) = json.loads(arena("user", "list", "--name", NAME, "-o", "json").stdout)["users"]
        return row["gpus"], row["jobs"]

    expected = ({"used": 1, "quota": 2}, {"PyTorchJob": 1})  # quotas are given back a moment after a pod's end
    as_user.until(lambda: listed() == expected, "the ended job's GPUs to be given back", lambda: str(listed()), 30)
    gone = arena("user", "remove", "alice", "--name", NAME, "--yes", "--json")
    assert gone.returncode == 0 and json.loads(gone.stdout)["lost"]["jobs"] == {"PyTorchJob": 1}, gone.stdout
    assert person.arena("list").returncode == 1 and not person.may("list nodes")
    assert sorted(objects.take(partial(kubectl, state)) ^ before) == []


def test_a_fourth_host_is_all_that_is_touched(first: subprocess.CompletedProcess[str], state: Path) -> None:
    """Add a worker: `up` changes it and the control plane, which mints the token. w1 and w2 keep every file and every
    pod, and nobody wrote to their Node objects, says the API server's own log."""
    watched = (
        "find /etc /usr /opt /var/lib/arena-install /var/lib/kubelet/config.yaml -newer /run/before -type f | sort"
    )
    for host in ("w1", "w2"):
        shell(host, "touch /run/before && sleep 1")
    added = arena("lab", "up", NAME, "--workers", "3")
    assert added.returncode == 0, added.stdout + added.stderr
    planned = json.loads(arena("plan", "--name", NAME, "--json").stdout)
    assert {action["host"] for action in planned["roles"]} == {f"{NAME}-w3"}
    before, since = running(state), shell("cp1", "date -u +%FT%T.%6NZ").strip()
    done = arena("up", "--name", NAME, "--verify", "quick")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    written = audited(since)
    for host in ("w1", "w2"):
        assert shell(host, watched) == ""
    nodes = json.loads(kubectl(state, "get", "nodes", "-o", "json"))["items"]
    assert sorted(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in nodes) == [0, 4, 4, 4]
    assert before.items() <= running(state).items()
    assert {audit.INSTALLER, f"system:node:{NAME}-w3"} <= {write.user for write in written}
    old = {pod for _, pod in before}
    assert "\n".join(audit.beyond(written, f"{NAME}-w3", old)) == ""
    kubectl(state, "annotate", "node", f"{NAME}-w1", "arena-install.local/proof=seen")
    assert audit.beyond(audited(since), f"{NAME}-w3", old) == [f"{audit.INSTALLER}: patch nodes {NAME}-w1"]


def test_each_component_goes_and_leaves_the_cluster_as_it_was_before_it(
    first: subprocess.CompletedProcess[str], state: Path
) -> None:
    """All out, in one after the other, and out again: after each, all objects (CRDs, webhooks, roles, labels of nodes)
    are those from before that component came."""
    names = needed("minimal")

    def do(*arguments: str) -> None:
        done = arena(*arguments, "--name", NAME)
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-6000:]}{done.stderr}"

    do("down", *(f"--component={name}" for name in names), "--yes")
    seen = [objects.take(partial(kubectl, state))]
    for name in names:
        do("up", f"--only={name}", "--verify=none")
        seen.append(objects.take(partial(kubectl, state)))
        assert seen[-1] != seen[-2]
    for name in reversed(names):
        do("down", f"--component={name}", "--yes")
        seen.pop()
        assert sorted(objects.take(partial(kubectl, state)) ^ seen[-1]) == [], name


def running(state: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """(namespace, pod) -> its uid and how often its containers were started again."""
    pods = json.loads(kubectl(state, "get", "pods", "-A", "-o", "json"))["items"]
    return {
        (pod["metadata"]["namespace"], pod["metadata"]["name"]): (
            pod["metadata"]["uid"],
            sum(row["restartCount"] for row in pod["status"].get("containerStatuses", ())),
        )
        for pod in pods
    }


def audited(since: str) -> list[audit.Write]:
    whole_lines = shell("cp1", f"cat {audit.LOGS}").rpartition("\n")[0]
    return audit.writes(whole_lines.splitlines(), since)
