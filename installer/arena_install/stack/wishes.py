"""What is wanted in the cluster: every component's wish, needs first. Shared by the plan and by what carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from arena_install.errors import ConfigError
from arena_install.inventory.cluster import Cluster
from arena_install.stack.graph import Catalogue, catalogue, order
from arena_install.stack.values import Wish, wish_of

Wishes = Mapping[str, Wish]


def wishes(
    cluster: Cluster, names: Iterable[str], digest_of: Callable[[str], str], *, rows: Catalogue | None = None
) -> dict[str, Wish]:
    """Components and what they need, by name; see values.wish_of. Reads no artifact and asks no cluster.

    Raises ConfigError for an unknown component, also one that only `values:` names, and for a bad template.
    """
    rows = catalogue() if rows is None else rows
    wanted = tuple(names)
    for name in wanted:
        if name not in rows:
            raise ConfigError(f"there is no component {name!r}", fix=f"components are: {', '.join(rows)}")
    for name in cluster.config.values:
        if name not in rows:
            raise ConfigError(
                f"values are given for {name!r}, which is no component",
                where="values in cluster.yaml",
                fix=f"components are: {', '.join(rows)}",
            )
    return {name: wish_of(rows[name], cluster, digest_of) for name in order(wanted, rows)}
