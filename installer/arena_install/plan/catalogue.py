"""The host components: what roles/<name>/component.yaml says of each role, ordered by needs.

The planner, `up` and `components` read roles through this; nothing else knows a role's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from arena_install import fastyaml
from arena_install.errors import ConfigError

#: Parts of a role that change what `main.yml` leaves on a host. reset.yml, tests and docs do not.
_INPUT_PARTS = (
    "tasks", "templates", "files", "handlers", "defaults", "vars", "library", "module_utils", "action_plugins",
)  # fmt: skip

_KEYS = frozenset(
    {"title", "hosts", "needs", "inputs", "images", "files", "privileges", "reads", "renews", "serves"}
)


@dataclass(frozen=True)
class Role:
    """One row. `images` and `files` name entries of the lock; "all" is every one that the cluster uses."""

    name: str
    title: str
    hosts: tuple[str, ...]  # groups
    needs: tuple[str, ...]
    inputs: tuple[str, ...]  # variables it reads beside those with its own prefix
    images: tuple[str, ...] | Literal["all"]
    files: tuple[str, ...] | Literal["all"]
    folder: Path
    privileges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of its pods, as in a component's row
    #: role -> items of this one ("file /x") of which its hosts hold copies: lost here, they are due there
    renews: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: profile -> images that pods need which what the role leaves makes; those of other profiles do without
    serves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads: tuple[str, ...] = ()  # files of other roles, relative to its folder, that decide what it leaves too

    def code_digest(self) -> str:
        """sha256 over the role's own files and those of the ledger role, whose modules every role works with."""
        digest = hashlib.sha256()
        for folder in (self.folder, self.folder.parent / "ledger"):
            for part in _INPUT_PARTS:
                for path in sorted((folder / part).rglob("*")):
                    if path.is_file() and path.name != "reset.yml" and "__pycache__" not in path.parts:
                        digest.update(f"{path.relative_to(folder)}\0".encode())
                        digest.update(hashlib.sha256(path.read_bytes()).digest())
        for name in self.reads:
            digest.update(hashlib.sha256((self.folder / name).read_bytes()).digest())
        return digest.hexdigest()


def load_roles(folder: Path) -> tuple[Role, ...]:
    """Read every role with a component.yaml under `folder`, needs first. Raises ConfigError on a bad row."""
    roles: dict[str, Role] = {}
    for path in sorted(folder.glob("*/component.yaml")):
        row = fastyaml.load(path.read_text())
        roles[path.parent.name] = _role(path, row)
    for role in roles.values():
        for need in role.needs:
            if need not in roles:
                raise ConfigError(f"role {role.name} needs {need!r}, which is not a role", where=str(role.folder))
    try:
        order = TopologicalSorter({name: role.needs for name, role in roles.items()}).static_order()
        return tuple(roles[name] for name in order)
    except CycleError as error:
        raise ConfigError(
            f"roles need each other in a circle: {' -> '.join(error.args[1])}", where=str(folder)
        ) from error


def _role(path: Path, row: Mapping[str, Any]) -> Role:
    unknown = set(row) - _KEYS
    if unknown:
        raise ConfigError(f"unknown key {sorted(unknown)[0]!r}", where=str(path))

    def names(key: str) -> tuple[str, ...] | Literal["all"]:
        value = row.get(key, [])
        return "all" if value == "all" else tuple(value)

    return Role(
        name=path.parent.name,
        title=row["title"],
        hosts=tuple(row["hosts"]),
        needs=tuple(row.get("needs", ())),
        inputs=tuple(row.get("inputs", ())),
        images=names("images"),
        files=names("files"),
        folder=path.parent,
        privileges={name: tuple(words) for name, words in row.get("privileges", {}).items()},
        renews={name: tuple(items) for name, items in row.get("renews", {}).items()},
        serves={profile: tuple(images) for profile, images in row.get("serves", {}).items()},
        reads=tuple(row.get("reads", ())),
    )
