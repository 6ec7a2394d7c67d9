"""What a container host is, before and after: everything that an installation may leave behind, as lines to compare."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).with_suffix(".sh").read_text()

#: What may differ after a reset. Logs are history; a package manager keeps its own backups; empty folders under /run
#: and the lock of iptables belong to tools that were there before us; so do the folders that a containerd which was
#: there makes for its own parts when they are first used, and the (then empty) books in them.
REVIEWED = re.compile(
    r"/var/log/(apt|dpkg)|/var/lib/dpkg/status-old|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-$"
    r"|volatile . /run/(mount|netns|adduser|xtables.lock|lock|sudo)|unit network-online.target|/root/.ansible"
    r"|^. (file|volatile) d .*/containerd/(s|runc|io\.containerd\.[a-z0-9.]+"
    r"(/(blobs(/sha256)?|ingest|containers|sandboxes))?) ?$"
    r"|/io\.containerd\.(snapshotter\.v1\.overlayfs/metadata\.db|grpc\.v1\.introspection/uuid) $"
)


def take(container: str) -> list[str]:
    """Of a host that is a container on this machine, as root, not by the road under test."""
    done = subprocess.run(
        ["podman", "exec", "--interactive", container, "sh", "-s"],
        input=SCRIPT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def differences(before: Sequence[str], after: Sequence[str]) -> list[str]:
    was, now = set(before), set(after)
    lines = [f"- {line}" for line in was - now] + [f"+ {line}" for line in now - was]
    return sorted(line for line in lines if not REVIEWED.search(line))
