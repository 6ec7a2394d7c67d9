"""Where an inventory says what: our own pass over its text, for the lines in messages only.

`ansible-inventory` gives the meaning, but it forgets lines, stops at the first error and explains few. What can be told
from the text alone is collected here, all at once, before Ansible is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from arena_install.errors import ArenaError, ConfigError
from arena_install.inventory import names, ssh
from arena_install.inventory.source import Source
from arena_install.suggest import distance

#: As many nodes as Kubernetes supports; a range with more is a slip.
MAX_HOSTS = 5000


@dataclass
class Scan:
    """First place of every group, host and variable. errors: what the text alone shows to be wrong."""

    path: str
    complete: bool = True  # False when the file is a program or a plugin's configuration: nothing to read in it
    groups: dict[str, Source] = field(default_factory=dict)
    hosts: dict[str, Source] = field(default_factory=dict)
    listed: dict[tuple[str, str], Source] = field(default_factory=dict)  # (group, host) named in so many words
    children: dict[str, dict[str, Source]] = field(default_factory=dict)
    host_vars: dict[tuple[str, str], Source] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)  # host -> variables in its own line
    group_vars: dict[tuple[str, str], Source] = field(default_factory=dict)
    errors: list[ArenaError] = field(default_factory=list)
    _judged: set[tuple[str, int]] = field(default_factory=set)

    def wrong(self, line: int | Source, what: str, *, why: str = "", fix: str = "") -> None:
        where = Source(self.path, line) if isinstance(line, int) else line
        self.errors.append(ConfigError(what, where=str(where), why=why, fix=fix))

    def host(self, name: str) -> Source:
        return self.hosts.get(name, Source(self.path))

    def group(self, name: str) -> Source:
        return self.groups.get(name, Source(self.path))

    def first_of(self, ours: str) -> Source:
        """Where the first group with this canonical name begins."""
        found = (source for name, source in self.groups.items() if names.canonical(name) == ours)
        return next(found, Source(self.path, 1))

    def add_group(self, name: str, line: int) -> None:
        self.groups.setdefault(name, Source(self.path, line))

    def add_child(self, group: str, child: str, line: int) -> None:
        self.children.setdefault(group, {}).setdefault(child, Source(self.path, line))

    def add_host(self, group: str, name: str, line: int) -> None:
        where = Source(self.path, line)
        self.listed.setdefault((group, name), where)
        self.hosts.setdefault(name, where)

    def check_name(self, name: str) -> bool:
        """Whether a host that is to become a node can be one by its name; says so if not."""
        where = self.host(name)
        fault, better = names.node_name_fault(name)
        if fault:
            self.wrong(
                where,
                f"host name `{name}` cannot be a node's name",
                why=fault,
                fix=f"call it {better} and give its address by ansible_host=" if better else "",
            )
        elif names.canonical(name):
            self.wrong(
                where,
                f"host `{name}` has the name of a group",
                why="Ansible could not tell the two apart",
                fix=f"rename the host, say {name}1",
            )
        return not fault and not names.canonical(name)

    def add_var(self, host: str, key: str, value: Any, line: int) -> None:
        self.host_vars[host, key] = Source(self.path, line)
        self.values.setdefault(host, {})[key] = value
        self.misspelt(key, line)

    def add_group_var(self, group: str, key: str, line: int) -> None:
        self.group_vars[group, key] = Source(self.path, line)
        self.misspelt(key, line)

    def misspelt(self, key: str, line: int) -> None:
        """An unknown ansible_* variable next to a known one: Ansible would ignore it without a word."""
        if not key.startswith("ansible_") or key in ssh.UNDERSTOOD or key in ssh.OTHER or (key, line) in self._judged:
            return
        self._judged.add((key, line))
        edits, known = min((distance(key, known), known) for known in ssh.UNDERSTOOD)
        if edits <= 2:
            self.wrong(line, f"unknown variable `{key}`", why="Ansible would ignore it", fix=f"did you mean `{known}`?")

    def named_by_us(self) -> list[str]:
        """Hosts that stand in one of our groups in so many words."""
        return list(dict.fromkeys(host for group, host in self.listed if names.canonical(group)))

    def check(self) -> None:
        """After the last line: what concerns the file as a whole."""
        if not self.complete:
            return
        if not self.hosts:
            if not self.errors:
                what = "lists no host" if self.groups else "is empty"
                self.wrong(1, what, fix="list your hosts under [control_plane] and [worker]")
            return
        mistaken = self._check_group_names()
        if not any(names.canonical(group) == "control_plane" for group in (*self.groups, *mistaken)):
            self.wrong(1, "no host is a control plane", fix="list one, or three, under [control_plane]")
        for name in self.named_by_us():
            self.check_name(name)
        self._check_cycles()

    def _check_group_names(self) -> set[str]:
        """Report near misses of our group names; returns what they were probably meant to be."""
        near = {name: ours for name in self.groups if (ours := names.meant(name))}
        mistaken = {name: ours for name, ours in near.items() if not self._relative_of_ours(name)}
        for name, ours in mistaken.items():
            self.wrong(
                self.group(name),
                f"group `{name}` is nearly, but not quite, one of ours",
                fix=f"did you mean `{ours}`? If it is a group of your own, choose a name less like it",
            )
        return set(mistaken.values())

    def _relative_of_ours(self, name: str) -> bool:
        """A subgroup of one of ours, or made of them, was named so on purpose."""
        below = self.children.get(name, {})
        above = {group for group, children in self.children.items() if name in children}
        return any(names.canonical(group) for group in (*below, *above))

    def _check_cycles(self) -> None:
        done: set[str] = set()
        for start in self.children:
            stack: list[tuple[str, Iterator[str]]] = [(start, iter(self.children.get(start, {})))]
            trail = [start]
            while stack:
                group, rest = stack[-1]
                child = next(rest, None)
                if child is None:
                    stack.pop()
                    done.add(trail.pop())
                elif child in trail:
                    circle = " -> ".join([*trail[trail.index(child) :], child])
                    where = self.children[group][child]
                    self.wrong(where, f"groups contain themselves: {circle}", fix="take one of them out")
                    return
                elif child not in done:
                    trail.append(child)
                    stack.append((child, iter(self.children.get(child, {}))))


_RANGE = re.compile(r"\[([^\[\]]*)\]")


def expand(pattern: str) -> list[str]:
    """Host names of a pattern such as node[01:20], rack[a:c]-[1:3]. Raises ValueError, saying what is wrong."""
    match = _RANGE.search(pattern)
    if not match:
        if "[" in pattern or "]" in pattern:
            raise ValueError(f"`{pattern}` has a bracket without its partner")
        return [pattern]
    before, after = pattern[: match.start()], expand(pattern[match.end() :])
    values = _range_values(match.group(1))
    if len(values) * len(after) > MAX_HOSTS:
        raise ValueError(f"`{pattern}` means {len(values) * len(after)} hosts; Kubernetes ends at {MAX_HOSTS} nodes")
    return [f"{before}{value}{rest}" for value in values for rest in after]


def _range_values(text: str) -> list[str]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[1]:
        raise ValueError(f"`[{text}]` is not a range; write [begin:end] or [begin:end:step]")
    begin, end, step = parts[0] or "0", parts[1], parts[2] if len(parts) == 3 else "1"
    if not re.fullmatch(r"[0-9]{1,9}", step) or int(step) == 0:
        raise ValueError(f"`{step}` in [{text}] is not a step")
    if re.fullmatch(r"[0-9]{1,18}", begin) and re.fullmatch(r"[0-9]{1,18}", end):
        first, last = int(begin), int(end)
        width = len(begin) if len(begin) > 1 and begin.startswith("0") else 0
        if width and len(end) != width:
            raise ValueError(f"[{text}]: with leading zeros both ends need as many digits")
        if (last - first) // int(step) >= MAX_HOSTS:
            raise ValueError(f"[{text}] means {last - first + 1} hosts; Kubernetes ends at {MAX_HOSTS} nodes")
        values = [str(number).zfill(width) for number in range(first, last + 1, int(step))]
    elif re.fullmatch(r"[a-zA-Z]", begin) and re.fullmatch(r"[a-zA-Z]", end):
        values = [chr(code) for code in range(ord(begin), ord(end) + 1, int(step))]
    else:
        raise ValueError(f"[{text}] runs neither over numbers nor over single letters")
    if not values:
        raise ValueError(f"[{text}] is empty: its end lies before its beginning")
    return values
