"""Resolve all artifacts of a cluster, as `up` does before its playbooks; for playbooks that are run without it.

usage: resolve.py CLUSTER
"""

from __future__ import annotations

import sys
from pathlib import Path

from arena_install import artifacts, paths
from arena_install.events import ignore
from arena_install.inventory.config import Config
from arena_install.pipeline.setting import Wishes, lab_names


def resolve(cluster: str) -> Path:
    """The resolved lock, in the cluster's state folder where playbooks look for it."""
    file = paths.state_dir(cluster) / "resolved.lock.json"
    artifacts.resolve(artifacts.load_lock(), lab_names(Config(), Wishes(), ignore), Config(), ignore).save(file)
    return file


if __name__ == "__main__":
    print(resolve(sys.argv[1]))
