"""The cache's size has a bound: what no lock asks for goes, and so do the Go caches."""

from __future__ import annotations

import json
from collections.abc import Iterable

from arena_install.artifacts.cache import Cache, remove_tree
from arena_install.artifacts.golang import drop_compiler_cache, tree_size
from arena_install.artifacts.resolved import Resolved
from arena_install.events import Emit, ignore


def prune(keep: Iterable[Resolved], *, cache: Cache | None = None, compiler: bool = True, emit: Emit = ignore) -> int:
    """Remove every blob and index entry that none of `keep` names, and (compiler) the Go caches. Returns bytes freed.

    Waits for a running build to end. What is still wanted later is made again.
    """
    cache = cache or Cache()
    wanted: set[str] = set()
    for resolved in keep:
        for row in (*resolved.files.values(), *resolved.charts.values()):
            wanted |= {row.sha256, row.parts}
        for image in resolved.images.values():
            wanted |= {image.manifest.removeprefix("sha256:"), image.parts}
            wanted |= {str(blob["digest"]).removeprefix("sha256:") for blob in image.blobs}
    freed = 0
    with cache.builder(emit, "artifacts/prune"):
        for blob in (cache.root / "blobs" / "sha256").glob("*"):
            if blob.name not in wanted:
                freed += blob.stat().st_size
                blob.unlink()
        for entry in (cache.root / "index").glob("*.json"):
            try:
                alive = all(name in wanted for name in json.loads(entry.read_bytes())["blobs"])
            except (ValueError, KeyError):
                alive = False
            if not alive:
                entry.unlink()
        for named in (cache.root / "named").glob("*"):
            if named.name not in wanted:
                freed += tree_size([named])
                remove_tree(named)
        freed += tree_size([cache.root / "partial"])
        remove_tree(cache.root / "partial")
        if compiler:
            freed += drop_compiler_cache(cache)
    return freed
