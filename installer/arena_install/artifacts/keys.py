"""Names in the cache's index. Apart from the makers: asking the cache must not load what only a build needs."""

from __future__ import annotations

import hashlib

from arena_install.artifacts.lock import File, Item, Lock
from arena_install.inventory.config import Config


def build_key(lock: Lock, item: Item, config: Config) -> str:
    """Hex sha256 that stands for what the way `build` makes of an item."""
    extra = config.gpu.simulated.driver_version if isinstance(item.spec, File) and item.spec.make else ""
    return hashlib.sha256(f"build:{lock.input_digest(item)}:{extra}".encode()).hexdigest()


def release_key(lock: Lock, item: Item) -> str:
    """The same for the way `release`."""
    return hashlib.sha256(f"release:{lock.input_digest(item)}".encode()).hexdigest()
