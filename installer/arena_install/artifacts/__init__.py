"""From components.lock.yaml to bytes: what the lock names is fetched or built once and found again by its inputs."""

from arena_install.artifacts.cache import Cache
from arena_install.artifacts.child import stop_all
from arena_install.artifacts.lock import Lock, load_lock
from arena_install.artifacts.prune import prune
from arena_install.artifacts.resolved import Resolved, ResolvedFile, ResolvedImage
from arena_install.artifacts.resolver import missing, resolve

__all__ = [
    "Cache",
    "Lock",
    "Resolved",
    "ResolvedFile",
    "ResolvedImage",
    "load_lock",
    "missing",
    "prune",
    "resolve",
    "stop_all",
]
