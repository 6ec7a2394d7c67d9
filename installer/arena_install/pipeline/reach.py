"""A kubeconfig that works from here, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_install.apply import tunnel
from arena_install.errors import UnreachableError
from arena_install.pipeline.setting import Setting


@contextmanager
def reachable(setting: Setting, *, must: bool = False) -> Iterator[Path]:
    """Yield the cluster's kubeconfig, or a copy through SSH where only SSH reaches the API.

    Without `must`, an API that does not answer is no error: the file is yielded as it is.
    """
    if not setting.kubeconfig.exists():
        yield setting.kubeconfig
        return
    opened = tunnel.reachable(setting.kubeconfig, setting.cluster.group("control_plane")[0])
    try:
        path = opened.__enter__()
    except UnreachableError:
        if must:
            raise
        yield setting.kubeconfig
        return
    try:
        yield path
    finally:
        opened.__exit__(None, None, None)
