"""Labs of container hosts: made, repeated, grown, interrupted, side by side, reached as sites are, removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena_install import lab as labs
from arena_install.events import Event, ignore
from arena_install.inventory import load
from arena_install.inventory.config import Lab
from arena_install.lab import Access, LabInfo, podman
from lab_fixture import MakeLab, play, run_on

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pair(lab_hosts: MakeLab) -> LabInfo:
    return lab_hosts("lab", workers=1)


@pytest.fixture
def name(lab_state: Path) -> Iterator[str]:
    """Of a lab that the test makes by itself."""
    name = f"t-lab-{uuid.uuid4().hex[:4]}"
    yield name
    labs.down(name, ignore)


def ids(lab: str) -> dict[str, str]:
    return {row["Names"][0]: row["Id"] for row in podman.containers(lab)}


def left_of(name: str, state: Path) -> list[str]:
    """Everything on this machine that bears the lab's name."""
    found = [path.name for path in (state / "labs").glob(f"*{name}*")]
    for kind in (("ps", "--all", "--external"), ("volume", "ls"), ("network", "ls")):
        found += [line for line in podman.run(*kind).splitlines() if name in line]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    return found


def test_hosts_are_bare_debian_with_systemd_up(pair: LabInfo) -> None:
    assert pair.running and [host.name for host in pair.hosts] == [f"{pair.name}-cp1", f"{pair.name}-w1"]
    for host in pair.hosts:
        assert run_on(pair, host.name, "systemctl is-system-running").stdout.strip() == "running"
        assert run_on(pair, host.name, "hostname").stdout.strip() == host.name
        assert run_on(pair, host.name, "command -v containerd kubelet").stdout == ""


def test_host_keys_are_pinned_and_differ(pair: LabInfo) -> None:
    pins = (pair.folder / "known_hosts").read_text().splitlines()
    assert len({pin.split()[2] for pin in pins}) == len(pair.hosts)
    swapped = pair.folder / "swapped"
    first, second = (pin.split() for pin in pins)
    swapped.write_text(f"{first[0]} {second[1]} {second[2]}\n")
    argv = labs.shell_command(pair.name, "cp1", ("true",))
    refused = subprocess.run(
        [argv[0], "-o", f"UserKnownHostsFile={swapped}", "-o", "BatchMode=yes", *argv[1:]],
        capture_output=True, text=True, check=False,
    )
    assert refused.returncode == 255 and "Host key verification failed" in refused.stderr


def test_state_is_private(pair: LabInfo) -> None:
    assert pair.folder.stat().st_mode & 0o777 == 0o700
    for file in ("id_ed25519", "hosts.ini", "known_hosts", "lab.json"):
        assert (pair.folder / file).stat().st_mode & 0o077 == 0


def test_the_inventory_is_read_by_ansible_and_by_us(pair: LabInfo) -> None:
    done = play(pair, [{"hosts": "all", "gather_facts": False, "tasks": [{"ping": None}]}])
    assert {row["ok"] for row in done.values()} == {1} and len(done) == 2
    cluster = load(pair.inventory, None)
    assert [host.name for host in cluster.group("gpu")] == [f"{pair.name}-w1"]
    assert cluster.host(f"{pair.name}-w1").vars["nvidia_driver_mode"] == "simulated"


def test_nothing_of_the_machine_below_leaks_in(pair: LabInfo) -> None:
    resolv = run_on(pair, "w1", "cat /etc/resolv.conf").stdout
    assert "nameserver" in resolv and "search" not in resolv
    hosts = run_on(pair, "w1", "cat /etc/hosts").stdout
    assert hosts.split("\n")[2] == f"{pair.host('w1').address} {pair.name}-w1" and len(hosts.splitlines()) == 3
    assert run_on(pair, "w1", "cat /sys/class/net/eth0/mtu").stdout.strip() == str(labs.network.uplink_mtu())


def test_later_packages_install_without_a_network(pair: LabInfo) -> None:
    alone = "unshare --net apt-get install --yes containerd runc containernetworking-plugins docker-registry"
    done = run_on(pair, "w1", f"DEBIAN_FRONTEND=noninteractive {alone} >/dev/null && containerd --version", 300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_up_changes_nothing(pair: LabInfo) -> None:
    before, files = ids(pair.name), {path: path.stat().st_mtime_ns for path in pair.folder.glob("*") if path.is_file()}
    events: list[Event] = []
    labs.up(pair.name, Lab(control_planes=1, workers=1), events.append)
    assert ids(pair.name) == before
    assert not [event for event in events if event.outcome == "changed"]
    kept = {path: path.stat().st_mtime_ns for path in files if path.name != "lock"}
    assert kept == {path: time for path, time in files.items() if path.name != "lock"}


def test_a_stopped_host_is_started_and_reached_again(pair: LabInfo) -> None:
    podman.run("stop", "--time", "20", f"{pair.name}-w1")
    assert not labs.find(pair.name).running
    started = time.monotonic()
    assert labs.up(pair.name, Lab(control_planes=1, workers=1), ignore).running
    assert time.monotonic() - started < 60


def test_labs_side_by_side_do_not_meet_and_grow(pair: LabInfo, lab_hosts: MakeLab) -> None:
    other = lab_hosts("other")
    assert other.subnet != pair.subnet
    before = ids(other.name)
    grown = labs.up(other.name, Lab(control_planes=1, workers=1), ignore)
    assert [host.name for host in grown.hosts] == [f"{other.name}-cp1", f"{other.name}-w1"]
    assert before.items() <= ids(other.name).items()
    events: list[Event] = []
    assert len(labs.up(other.name, Lab(control_planes=1, workers=0), events.append).hosts) == 2
    assert any(event.kind == "warning" and f"{other.name}-w1" in event.text for event in events)
    assert {pair.name, other.name} <= {lab.name for lab in labs.list_labs()}


def test_sudo_with_a_password_another_port_and_a_jump_host(lab_hosts: MakeLab) -> None:
    lab = lab_hosts("jump", workers=1, access=Access("arena", sudo_password=True, port=2222, jump=True))
    who = [{"hosts": "all", "gather_facts": False, "tasks": [{"command": "id -u"}]}]
    assert {row["failed"] for row in play(lab, who).values()} == {0}
    assert run_on(lab, "w1", "id -un").stdout.strip() == "arena"
    assert run_on(lab, "w1", "sudo -n true").returncode != 0
    word = (lab.folder / "host_vars" / f"{lab.name}-w1.yml")
    assert word.stat().st_mode & 0o077 == 0
    direct = subprocess.run(
        ["ssh", "-F", str(lab.folder / "ssh_config"), "-o", "ProxyJump=none", "-o", "ConnectTimeout=2",
         f"{lab.name}-w1", "true"], capture_output=True, text=True, check=False,
    )
    assert direct.returncode == 255 and "timed out" in direct.stderr
    cluster = load(lab.inventory, None)
    assert cluster.host(f"{lab.name}-w1").proxy_command and cluster.host(f"{lab.name}-w1").port == 2222


@pytest.mark.parametrize("after", ["lab/network", "making the container", "starting", "its sshd"])
def test_up_goes_on_after_kill_9_and_down_leaves_nothing(name: str, after: str, lab_state: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "arena_install", "lab", "up", name, "--workers", "1", "--json"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if after in (event.get("step"), event.get("text")):
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    assert labs.up(name, Lab(control_planes=1, workers=1), ignore).running
    assert run_on(labs.find(name), "w1", "true").returncode == 0
    assert labs.down(name, ignore)
    assert left_of(name, lab_state) == []


def test_down_finds_a_lab_whose_state_is_gone_and_up_takes_it_back(name: str, lab_state: Path) -> None:
    lab = labs.up(name, Lab(control_planes=1, workers=0), ignore)
    before = ids(name)
    subprocess.run(["rm", "-rf", str(lab.folder)], check=True)
    assert [host.address for host in labs.find(name).hosts] == [lab.hosts[0].address]
    assert labs.up(name, Lab(control_planes=1, workers=0), ignore).running and ids(name) == before
    subprocess.run(["rm", "-rf", str(lab.folder)], check=True)
    assert labs.down(name, ignore)
    assert left_of(name, lab_state) == []
    assert not labs.down(name, ignore)
