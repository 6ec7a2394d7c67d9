"""Facts about what roles set up and what could change it: units, static pods, the registry, packages, private files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A systemd unit that is there, in systemd's own words. since: Unix seconds at which it became active, None while
    it isn't. log: of one that is not active, lines of its log that tell of a failure."""

    enabled: str = ""  # "enabled", "disabled", "masked", ...
    active: str = ""  # "active", "inactive", "failed", "activating", ...
    sub: str = ""  # "running", "auto-restart", ...
    result: str = ""  # "success", "exit-code", ...
    since: float | None = None
    restarts: int = 0
    drop_ins: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    version: str
    held: bool = False


@dataclass(frozen=True)
class Upgrades:
    """Upgrades that the host makes by itself. keep: regular expressions of the packages that they leave alone."""

    automatic: bool = False
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrivateFile:
    mode: int
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True)
class StaticPod:
    """etcd or the API server, which the kubelet runs from a file. log: as a Unit's, where it does not listen."""

    listens: bool
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """The cluster's registry as this host sees it. answer: HTTP status, what went wrong, or "": not asked."""

    url: str = ""
    answer: str = ""
