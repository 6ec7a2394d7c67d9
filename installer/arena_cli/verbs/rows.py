"""Flags that several verbs share."""

from __future__ import annotations

from arena_cli.flags import Flag

TYPE = Flag("type", "text", "The kind of job, where several have one name.", short="T")
EVERYWHERE = Flag("all-namespaces", "switch", "All namespaces.", short="A", old=("allNamespaces",))
OUTPUT = Flag(
    "output", "text", "How it is shown.", "wide", short="o", choices=("wide", "json", "yaml", "name"), better="name too"
)
WATCH = Flag("watch", "switch", "Show it anew whenever it changes, until interrupted.", short="w", ours=True)
INSTANCE = Flag("instance", "text", "The pod (default: the chief).", short="i")
CONTAINER = Flag("container", "text", "The container.", short="c")
