"""One `up` that is started, watched and killed, and what of it goes on afterwards: here, and on the hosts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CLI = (sys.executable, "-m", "arena_install")
#: Seconds in which what a killed `up` had begun on a host (a package's installation, kubeadm) may come to its end.
PATIENCE = 120.0


@dataclass(frozen=True)
class Moment:
    """When to kill: `step` has begun (and said something that `text` matches), and `after` seconds have passed."""

    stratum: str
    step: str
    text: str = ""
    after: float = 0.3

    def come(self, event: dict[str, str]) -> bool:
        # An image's step is named with its tag, which the lock says.
        if event.get("step") != self.step and event.get("step", "").rpartition(":")[0] != self.step:
            return False
        if not self.text:
            return event.get("kind") == "start"
        return event.get("kind") == "progress" and re.search(self.text, event.get("text", "")) is not None


@dataclass(frozen=True)
class Kill:
    moment: Moment
    whole_group: bool
    reached: bool  # False: that `up` ended, or the moment did not come
    seconds: float  # from the start of `up` to the kill
    local: float  # seconds until no process of it lived here; -1: some still did after PATIENCE
    remote: float  # the same on the hosts

    @property
    def good(self) -> bool:
        return self.reached and self.local >= 0 and self.remote >= 0


def kill_up(options: Sequence[str], moment: Moment, *, whole_group: bool, hosts: Sequence[str], limit: float) -> Kill:
    """Start `up` in a process group of its own and end it with SIGKILL at the moment: alone or with its group."""
    started = time.monotonic()
    up = subprocess.Popen(
        [*CLI, "up", *options, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert up.stdout
    reached = False
    for line in up.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if moment.come(event):
            reached = True
            break
        if time.monotonic() - started > limit:
            break
    if reached:
        time.sleep(moment.after)
    family = descendants(up.pid)
    reached = reached and up.poll() is None
    seconds = time.monotonic() - started
    if up.poll() is None:
        (os.killpg if whole_group else os.kill)(up.pid, signal.SIGKILL)
    up.stdout.close()
    up.wait()
    return Kill(
        moment, whole_group, reached, seconds,
        _until_none(lambda: len(alive(family))), _until_none(lambda: sum(map(sessions, hosts))),
    )  # fmt: skip


def descendants(pid: int) -> dict[int, str]:
    """Living processes below a process, each with its start time, so that a reused number is nobody's child."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    children: dict[int, list[int]] = {}
    for line in listed.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found: dict[int, str] = {}
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), ()):
            if start := _start_time(child):
                found[child] = start
            queue.append(child)
    return found


def alive(family: dict[int, str]) -> list[int]:
    return [pid for pid, start in family.items() if _start_time(pid) == start]


def _start_time(pid: int) -> str:
    """Ticks since boot at which a process began; "" for one that is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def sessions(container: str) -> int:
    """Processes that SSH sessions began on a container host and that still run, orphans included.

    Hosts of a lab have no logind, so all of them are in the unit of sshd. sshd's own do not count: a connection that
    idles until its time is over does nothing.
    """
    script = (
        "group=$(systemctl show --property=ControlGroup --value ssh); "
        "cat /sys/fs/cgroup/systemd$group/cgroup.procs /sys/fs/cgroup$group/cgroup.procs 2>/dev/null | sort -u "
        "| while read -r pid; do cat /proc/$pid/comm 2>/dev/null; done | grep -vc '^sshd' || true"
    )
    done = subprocess.run(["podman", "exec", container, "sh", "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


def _until_none(count: Callable[[], int]) -> float:
    started = time.monotonic()
    while count():
        if time.monotonic() - started > PATIENCE:
            return -1
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)
