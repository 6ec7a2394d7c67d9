"""`plan` for fifty SSH hosts against `ansible -m setup` on the same: time, memory, and what each writes on the hosts.

The hosts are a lab's: containers with systemd and sshd, made for this and removed afterwards. Nothing is installed on
them, so the plan says that everything is new.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from measure import BIN, Row, median_seconds, peak_memory

from arena_install import lab, paths
from arena_install.events import ignore
from arena_install.inventory.config import Lab
from arena_install.lab import LabInfo, podman

NAME = "bench50"
HOSTS = 50
_MARK = "/run/arena-bench"
#: What a login writes itself, whoever logs in and whatever for.
_LOGIN = (
    r"^/(var/log/(wtmp|btmp|lastlog|journal)|var/lib/(wtmpdb|lastlog|systemd)|etc/\.|etc/resolv\.conf|tmp|run)(/|$)"
)


def rows(rounds: int) -> list[Row]:
    made = lab.up(NAME, Lab(control_planes=1, workers=HOSTS - 1), ignore)
    try:
        return _rows(made, rounds)
    finally:
        lab.down(NAME, ignore)


def _rows(made: LabInfo, rounds: int) -> list[Row]:
    ours = [str(BIN / "arena-install"), "plan", "--name", NAME, "--json"]
    theirs = [str(BIN / "ansible"), "-i", str(made.inventory), "-f", str(HOSTS), "-m", "ansible.builtin.setup", "all"]
    # As fast as Ansible does this: pipelining, and one connection a host, which needs no master left behind.
    env = {
        "ANSIBLE_CONFIG": str(paths.data_dir() / "playbooks" / "ansible.cfg"),
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
    }
    times = median_seconds({"ours": ours, "theirs": theirs}, rounds, env)
    peaks = {"ours": peak_memory(ours, env) / 2**20, "theirs": peak_memory(theirs, env) / 2**20}
    what = f"plan, {HOSTS} hosts, against ansible -m setup"
    return [
        Row(what, times["ours"], times["theirs"], "s", 0.2),
        Row(f"{what}: peak memory", peaks["ours"], peaks["theirs"], "MiB", 0.5),
        Row(f"{what}: files written on hosts", len(written(made, ours)), 0, "files", 0),
    ]


def written(made: LabInfo, command: Sequence[str]) -> list[str]:
    """ "HOST:PATH" of every file and folder that was changed on a host's disks while the command ran, logins apart."""
    _on_each(made, f"touch {_MARK}")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    places = " ".join(["/", *made.hosts[0].volumes.values()])
    listings = _on_each(made, f"find {places} -xdev -cnewer {_MARK} | grep -Ev '{_LOGIN}' || true")
    return [f"{host}:{path}" for host, listing in listings.items() for path in listing.splitlines()]


def _on_each(made: LabInfo, script: str) -> dict[str, str]:
    return {host.name: podman.run("exec", host.name, "sh", "-c", script) for host in made.hosts}
