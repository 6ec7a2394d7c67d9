"""Everything a verb knows before it looks at a host: the cluster wanted, the lock, the roles, and where state lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arena_install import artifacts, inventory, lab, paths, plan, stack, verify
from arena_install.artifacts.lock import Lock
from arena_install.errors import ConfigError
from arena_install.events import Emit
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.config import Config
from arena_install.plan.catalogue import Role


@dataclass(frozen=True)
class Wishes:
    """The options that verbs share, as the user gave them. lab: name of the lab when there is no inventory."""

    inventory: Path | None = None
    config: Path | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    lab: str = "lab"


@dataclass(frozen=True)
class Setting:
    cluster: Cluster
    roles: tuple[Role, ...]
    lock: Lock
    components: tuple[str, ...]  # of the cluster, needs first
    state: Path

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def resolved_file(self) -> Path:
        return self.state / "resolved.lock.json"

    def names(self) -> tuple[str, ...]:
        """Every entry of the lock that this cluster uses: by its roles, its components and its checks; and what it was
        given before. Components that are not asked for now (`--only`, a smaller profile) stay in, and so do their
        images."""
        used = [role for role in self.roles if any(host.groups.intersection(role.hosts) for host in self.cluster.hosts)]
        now = _names(used, self.components, self.cluster)
        return tuple(dict.fromkeys((*now, *self._given())))

    def _given(self) -> list[str]:
        """What the resolved lock of the last `up` holds, as far as the lock still knows it."""
        if not self.resolved_file.exists():
            return []
        last, known = artifacts.Resolved.load(self.resolved_file), set(self.lock.names())
        return sorted(known.intersection((*last.files, *last.images, *last.charts)))


def read_config(wishes: Wishes) -> Config:
    """cluster.yaml with the command line's own wishes on top; no host is needed for it."""
    config = inventory.load(None, wishes.config).config
    if wishes.profile not in (None, "minimal", "full"):
        raise ConfigError(f"--profile {wishes.profile}: expected minimal or full")
    return config.model_copy(update={"profile": wishes.profile}) if wishes.profile else config


def prepare(wishes: Wishes) -> Setting:
    """Read and check all that the user wrote. Without an inventory, the lab of that name must exist."""
    config = read_config(wishes)
    path = wishes.inventory
    if path is None:
        path = lab.inventory_file(wishes.lab)
        if not path.exists():
            raise ConfigError(
                f"there is no lab named {wishes.lab}, and no inventory was given",
                fix="`arena-install up` makes one, or name your hosts with -i hosts.ini",
            )
    cluster = inventory.load(path, wishes.config)
    name = cluster.name if wishes.inventory else wishes.lab
    return _setting(replace(cluster, name=name, config=config), wishes)


def _setting(cluster: Cluster, wishes: Wishes) -> Setting:
    return Setting(
        cluster=cluster,
        roles=plan.load_roles(paths.data_dir() / "roles"),
        lock=artifacts.load_lock(),
        components=component_names(cluster.config, wishes.only, wishes.skip),
        state=paths.state_dir(cluster.name),
    )


def component_names(config: Config, only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    return tuple(stack.needed(config.profile, only=tuple(only), skip=tuple(skip)))


def lab_names(config: Config, wishes: Wishes, emit: Emit) -> tuple[str, ...]:
    """What a lab not yet made will use, so that its artifacts are built while its hosts are."""
    components = component_names(config, wishes.only, wishes.skip)
    simulated = config.gpu.model_copy(update={"driver": "simulated"})
    cluster = Cluster(wishes.lab, (), config.model_copy(update={"gpu": simulated}), None)
    return _names(plan.load_roles(paths.data_dir() / "roles"), components, cluster)


def _names(roles: Sequence[Role], components: tuple[str, ...], cluster: Cluster) -> tuple[str, ...]:
    """What these roles, these components and the checks of these components use, each name once."""
    names: dict[str, None] = {}
    for role in roles:
        names.update(dict.fromkeys(role.images if role.images != "all" else ()))
        names.update(dict.fromkeys(role.files if role.files != "all" else ()))
        names.update(dict.fromkeys(role.serves.get(cluster.config.profile, ())))
    names.update(dict.fromkeys(sorted(stack.artifacts_of(components, cluster))))
    profile = cluster.config.profile
    names.update(dict.fromkeys(verify.images_for(verify.suites_for(components, profile), profile)))
    return tuple(names)
