"""What `user` does: the cluster of the options, its API, and who may use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arena_install import users
from arena_install.apply.lockfile import exclusive
from arena_install.errors import ConfigError
from arena_install.events import ignore
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting
from arena_install.stack.api import Api


def default_file(setting: Setting, name: str) -> Path:
    """Where a user's kubeconfig goes when nobody says where."""
    return setting.state / "users" / f"{name}.kubeconfig"


@contextmanager
def cluster_api(setting: Setting) -> Iterator[Api]:
    """Raises ConfigError for a cluster that was not set up from here, UnreachableError for one that does not answer."""
    if not setting.kubeconfig.exists():
        raise ConfigError(
            f"cluster {setting.cluster.name} was not set up from here", fix="run `arena-install up` first"
        )
    with reachable(setting, must=True) as kubeconfig:
        api = Api(kubeconfig)
        try:
            yield api
        finally:
            api.close()


@contextmanager
def _alone(setting: Setting) -> Iterator[Api]:
    """One writer of users: the last one to go takes away what all of them share."""
    with cluster_api(setting) as api, exclusive(setting.state / "users.lock", ignore):
        yield api


def add(setting: Setting, wish: users.Wish, file: Path | None) -> users.Added:
    """The kubeconfig names the address of the administrator's, also where only SSH leads there from here."""
    with _alone(setting) as api:
        to = users.door(setting.kubeconfig, setting.cluster.name)
        return users.add(api, wish, to, (file or default_file(setting, wish.name)).absolute())


def rows(setting: Setting) -> list[users.Row]:
    with cluster_api(setting) as api:
        return users.rows(api)


def loss(setting: Setting, name: str) -> users.Loss:
    with cluster_api(setting) as api:
        return users.loss(api, users.find(api, name))


def remove(setting: Setting, name: str) -> users.Removed:
    with _alone(setting) as api:
        removed = users.remove(api, users.find(api, name))
    file = default_file(setting, name)
    if file.exists():
        file.unlink()
        removed.gone.append(f"kubeconfig {file}")
    return removed
