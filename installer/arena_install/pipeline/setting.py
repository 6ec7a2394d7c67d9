"""Everything a verb knows before it looks at a host: the cluster wanted, the lock, the roles, and where state lives."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from arena_install import artifacts, inventory, lab, paths, plan, stack, verify
from arena_install.artifacts.lock import Lock
from arena_install.errors import ConfigError
from arena_install.events import Emit
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.config import Config
from arena_install.plan.catalogue import Role
from arena_install.stack.component import Profile

_PROFILES = get_args(Profile)
_PROFILE = "profile"  # file in a cluster's state: which one the last `up` made


@dataclass(frozen=True)
class Wishes:
    """The options that verbs share, as the user gave them. lab: name of the lab when there is no inventory."""

    inventory: Path | None = None
    config: Path | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    lab: str = "lab"
    kubeconfig: Path | None = None  # of a cluster that is there already, of which only the inside is ours


@dataclass(frozen=True)
class Setting:
    cluster: Cluster
    roles: tuple[Role, ...]
    lock: Lock
    components: tuple[str, ...]  # of the cluster, needs first
    state: Path
    given: Path | None = None  # the kubeconfig of an existing cluster

    @property
    def kubeconfig(self) -> Path:
        return self.given or self.state / "kubeconfig"

    @property
    def existing(self) -> bool:
        """Whether hosts and Kubernetes are somebody else's."""
        return self.given is not None

    @property
    def resolved_file(self) -> Path:
        return self.state / "resolved.lock.json"

    def suites(self) -> tuple[str, ...]:
        """Those that prove this cluster."""
        all_of_them = verify.suites_for(self.components, self.cluster.config.profile)
        return tuple(suite for suite in all_of_them if suite != "host") if self.existing else all_of_them

    def names(self) -> tuple[str, ...]:
        """Every entry of the lock that this cluster uses: by its roles, its components and its checks; and what it was
        given before. Components that are not asked for now (`--only`, a smaller profile) stay in, and so do their
        images."""
        used = [role for role in self.roles if any(host.groups.intersection(role.hosts) for host in self.cluster.hosts)]
        now = _names(used, self.components, self.cluster)
        return (*now, *self._given_before({self.lock.find(name).name for name in now}))

    def _given_before(self, now: Collection[str]) -> list[str]:
        """What the resolved lock of the last `up` holds beside these, as far as the lock still knows it."""
        if not self.resolved_file.exists():
            return []
        last, known = artifacts.Resolved.load(self.resolved_file), set(self.lock.names())
        return sorted(known.intersection((*last.files, *last.images, *last.charts)).difference(now))


def read_config(wishes: Wishes, state: Path | None = None) -> Config:
    """cluster.yaml with the command line's own wishes on top; no host is needed for it. Where neither names a profile,
    it is the one that the cluster with this state has."""
    config = inventory.load(None, wishes.config).config
    if wishes.profile not in (None, *_PROFILES):
        raise ConfigError(f"--profile {wishes.profile}: expected {' or '.join(_PROFILES)}")
    if wishes.profile:
        config = config.model_copy(update={"profile": wishes.profile})
    return _as_before(config, state) if state else config


def _as_before(config: Config, state: Path) -> Config:
    """With the profile of the last `up`, where nobody names one."""
    kept = None if "profile" in config.model_fields_set else _profile_of(state)
    return config.model_copy(update={"profile": kept}) if kept else config


def keep_profile(setting: Setting) -> None:
    """For verbs that come after `up`."""
    (setting.state / _PROFILE).write_text(f"{setting.cluster.config.profile}\n")


def _profile_of(state: Path) -> str | None:
    file = state / _PROFILE
    found = file.read_text().strip() if file.exists() else ""
    return found if found in _PROFILES else None


def prepare(wishes: Wishes) -> Setting:
    """Read and check all that the user wrote. Without an inventory or a kubeconfig, the lab of that name must exist."""
    if wishes.kubeconfig is not None:
        return _existing(wishes, wishes.kubeconfig)
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
    return _setting(replace(cluster, name=name, config=_as_before(config, paths.state_dir(name))), wishes)


def _existing(wishes: Wishes, kubeconfig: Path) -> Setting:
    if wishes.inventory is not None:
        raise ConfigError(
            "an inventory and a kubeconfig were given",
            why="with -i hosts are set up; with --kubeconfig a cluster that is there already gets what goes inside it",
            fix="leave one of them out",
        )
    path = kubeconfig.expanduser().absolute()
    if path.is_relative_to(paths.state_home().absolute()):
        raise ConfigError(
            "this cluster was made by arena-install, hosts and all",
            where=str(path),
            fix="name it as when it was made: -i hosts.ini, or --name for a lab",
        )
    named, config = kubeconfig_name(path), read_config(wishes)
    cluster = Cluster(config.name, (), config, None)
    name = config.name if "name" in config.model_fields_set else named
    config = _as_before(config, paths.state_dir(name))
    return replace(_setting(replace(cluster, name=name, config=config), wishes), given=path)


def kubeconfig_name(path: Path) -> str:
    """What the kubeconfig calls its current cluster, fit for a folder. Raises ConfigError for what is none."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
        current = next(row for row in found["contexts"] if row["name"] == found["current-context"])
        name = str(current["context"]["cluster"])
    except OSError as error:
        raise ConfigError(
            "the kubeconfig can't be read", where=str(path), why=str(error.strerror), fix="--kubeconfig FILE"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, StopIteration) as error:
        raise ConfigError(
            "this is no kubeconfig with a current context",
            where=str(path),
            fix=f"kubectl --kubeconfig {path} config get-contexts",
        ) from error
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63] or "cluster"


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
