"""The few podman commands that a lab needs, as functions; what podman answers comes back parsed.

Everything a lab makes carries the label arena-install.lab=NAME, so that it is found even when our own state is gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arena_install.errors import StepError, TimedOutError

LABEL = "arena-install.lab"
#: Seconds for a single podman command; importing the host image is the longest (about 20 s).
TIMEOUT = 300


def require() -> None:
    """Raises StepError, with the command that mends it, where this machine can't run container hosts."""
    if os.geteuid() != 0:
        raise StepError(
            "a lab can't be made without root's rights",
            why="its hosts run systemd, containerd and a kubelet, which need privileged containers",
            fix="run the same command with sudo",
        )
    tools = {"podman": "podman", "ssh": "openssh-client", "ssh-keygen": "openssh-client", runtime(): runtime()}
    if missing := sorted({package for tool, package in tools.items() if not shutil.which(tool)}):
        raise StepError(
            f"{' and '.join(missing)} not installed on this machine, needed for a lab",
            fix=f"apt-get install --yes {' '.join(missing)}",
        )


def cgroup_v2() -> bool:
    """Whether this kernel offers the unified hierarchy alone (a hybrid machine counts as v1, as podman sees it)."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def runtime() -> str:
    """crun refuses cgroup v1; on v2 it is what podman itself prefers."""
    return "crun" if cgroup_v2() and shutil.which("crun") else "runc"


def run(*args: str, stdin: str | None = None, timeout: float = TIMEOUT) -> str:
    """`podman ARGS`: its stdout. Raises StepError with podman's own words, TimedOutError after `timeout` seconds."""
    done = attempt(*args, stdin=stdin, timeout=timeout)
    if done.returncode != 0:
        raise StepError(f"`podman {_shown(args)}` failed", why=reason(done))
    return done.stdout


def attempt(*args: str, stdin: str | None = None, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
    """As run(), but the caller judges the exit status."""
    try:
        return subprocess.run(
            ["podman", *args], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimedOutError(f"`podman {_shown(args)}` did not end in {timeout:.0f} s") from error


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last lines of what podman said."""
    lines = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
    return "\n".join(re.sub(r"^Error: ", "", line) for line in lines[-4:])


def objects(*args: str) -> list[dict[str, Any]]:
    """A listing with `--format json` (podman prints nothing, or null, for an empty one)."""
    return list(json.loads(run(*args, "--format", "json").strip() or "null") or [])


def containers(lab: str | None = None) -> list[dict[str, Any]]:
    """Containers of that lab, or of every lab, running or not."""
    return objects("ps", "--all", "--filter", f"label={LABEL}" + (f"={lab}" if lab else ""))


def networks(lab: str | None = None) -> list[dict[str, Any]]:
    """podman's filter by label value misses, so this filters by itself. Subnets are under subnets[].subnet."""
    return [net for net in objects("network", "ls") if _labelled(net.get("labels"), lab)]


def volumes(lab: str | None = None) -> list[str]:
    return [str(volume["Name"]) for volume in objects("volume", "ls") if _labelled(volume.get("Labels"), lab)]


def exists(kind: str, name: str) -> bool:
    """kind: container, image, network or volume."""
    return attempt(kind, "exists", name).returncode == 0


def _labelled(labels: dict[str, str] | None, lab: str | None) -> bool:
    value = (labels or {}).get(LABEL)
    return value is not None and lab in (None, value)


def _shown(args: Sequence[str]) -> str:
    text = " ".join(args)
    return text if len(text) < 100 else text[:97] + "..."
