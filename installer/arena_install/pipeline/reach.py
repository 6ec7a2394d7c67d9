"""A kubeconfig that works from here, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_install.apply import tunnel
from arena_install.errors import ArenaError, UnreachableError
from arena_install.pipeline.setting import Setting
from arena_install.stack.api import Api


@contextmanager
def reachable(setting: Setting, *, must: bool = False) -> Iterator[Path]:
    """Yield the cluster's kubeconfig, or a copy through SSH where only SSH reaches the API.

    Without `must`, an API that does not answer is no error: the file is yielded as it is.
    """
    if setting.existing or not setting.kubeconfig.exists():
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


@contextmanager
def answering(setting: Setting) -> Iterator[Api | None]:
    """Yield the cluster's API, None where it does not answer."""
    with reachable(setting) as kubeconfig:
        if not kubeconfig.exists():
            yield None
            return
        api = Api(kubeconfig)
        try:
            yield api if _is_ready(api) else None
        finally:
            api.close()


def _is_ready(api: Api) -> bool:
    try:
        api.request("GET", "/readyz", text=True)
    except ArenaError:
        return False
    return True
