"""Every image that the charts would run, so that a test can hold them against the lock: nothing is pulled unnamed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arena_install.inventory.cluster import Cluster
from arena_install.stack.graph import Catalogue, catalogue, order
from arena_install.stack.helm import Helm
from arena_install.stack.values import Resolved, objects_of, values_of

#: registry/path:tag inside a longer text (an argument, a script, YAML in a ConfigMap).
_REFERENCE = re.compile(r"(?<![\w./:@-])((?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?(?:/[a-z0-9._-]+)+:[\w][\w.-]*)")
_IMAGE_LINE = re.compile(r"""^[\s-]*"?image"?:\s*["']?([^\s"'{}]+)["']?\s*$""", re.MULTILINE)


def rendered_images(
    cluster: Cluster, resolved: Resolved, names: Iterable[str], rows: Catalogue | None = None
) -> frozenset[str]:
    """Image references in what these components (and what they need) render to: pods, arguments, texts, hooks."""
    rows = catalogue() if rows is None else rows
    found: set[str] = set()
    for objects in render(cluster, resolved, names, rows).values():
        for obj in objects:
            found |= set(references(obj))
    return frozenset(found)


def render(
    cluster: Cluster, resolved: Resolved, names: Iterable[str], rows: Catalogue | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Component -> its objects as `helm template` renders them, with our own beside. Needs no cluster."""
    rows = catalogue() if rows is None else rows
    wanted = [rows[name] for name in order(names, rows)]

    async def all_of() -> dict[str, list[dict[str, Any]]]:
        found = {}
        async with Helm.at(resolved.program("helm"), None) as helm:
            for row in wanted:
                chart, values = resolved.chart(row.chart), values_of(row, cluster)
                objects = await helm.render(row.release, chart, values, row.namespace.name)
                found[row.name] = [*objects_of(row, cluster), *objects]
        return found

    return asyncio.run(all_of())


def references(value: object) -> Iterator[str]:
    """Image references anywhere in an object."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "image" and isinstance(item, str):
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)
    elif isinstance(value, str):
        yield from _REFERENCE.findall(value)
        yield from _IMAGE_LINE.findall(value)
