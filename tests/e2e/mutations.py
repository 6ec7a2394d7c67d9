"""Damage to what roles left on hosts, item by item as their ledgers record it.

For a test that `plan` names exactly what was damaged and `up` mends it. Left out, since no role can bring it back and
`up` says so: keys and authorities, what only a backup has. Left out, since it would hide the rest: what the API needs
to answer while the plan is made.
"""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STORE = "/var/lib/docker-registry/docker/registry/v2"

#: Made at random, once, or (the host's name, with or without an end of line) by somebody else: only their modes and
#: owners come back as they were.
_BY_MODE = re.compile(r"/registry/(ca|tls)\.|/encryption\.yaml$|^/etc/hostname$")
#: Gone, these take the API or their unit along: one damage, two items.
_VITAL = re.compile(r"/manifests/(etcd|kube-apiserver)\.yaml$|\.service$")
#: Each is made again from the other.
_TWINS = ("path /etc/kubernetes/kubelet.conf", "path /etc/kubernetes/pki/ca.crt")
_LOST_FOR_GOOD = ("path|/etc/kubernetes/pki/ca.key", "path|/var/lib/etcd/member")
#: Packages that nothing recorded rests on: no unit, no file.
_REMOVABLE = ("conntrack", "ethtool", "socat")


@dataclass(frozen=True)
class Mutation:
    host: str
    item: str  # as a plan names it: "file /etc/x"
    command: str


def mutations(host: str, lines: Iterable[str]) -> list[Mutation]:
    """Every damage that can be done to the recorded items of one host (kind|name|state lines, of all its roles)."""
    found = []
    for line in dict.fromkeys(lines):
        kind, rest = line.split("|", 1)
        name, state = rest.rsplit("|", 1)
        if f"{kind}|{name}" not in _LOST_FOR_GOOD:
            found += [Mutation(host, f"{kind} {name}", command) for command in _commands(kind, name, state)]
    return found


def choose(everything: Mapping[str, Sequence[Mutation]], count: int, rng: random.Random) -> list[Mutation]:
    """At random, each item at most once, every kind of item and every host among them."""
    one_each: dict[tuple[str, str], Mutation] = {}
    for rows in everything.values():
        for row in rng.sample(rows, len(rows)):
            one_each.setdefault((row.host, _TWINS[0] if row.item in _TWINS else row.item), row)
    rows = rng.sample(list(one_each.values()), len(one_each))
    first: dict[str, Mutation] = {}
    for row in rows:
        first.setdefault(f"kind {row.item.partition(' ')[0]}", row)
        first.setdefault(f"host {row.host}", row)
    chosen = list(dict.fromkeys(first.values()))
    return (chosen + [row for row in rows if row not in chosen])[:count]


def _commands(kind: str, name: str, state: str) -> list[str]:
    at = shlex.quote(name)
    match kind:
        case "file" if state.startswith("link "):
            return [f"rm {at}", f"ln -sfn /nowhere {at}"]
        case "file" if state.startswith("dir "):
            return [f"chmod {_other(state.split()[1])} {at}", f"chown nobody {at}"]
        case "file" if state != "absent":
            return _of_file(name, state.split()[1])
        case "path" if state == "present":
            return [f"rm -r {at}"]
        case "unit":
            return _of_unit(name, state)
        case "sysctl" if state in ("0", "1"):
            return [f"sysctl -qw {name}={1 - int(state)}"]
        case "package" if state != "absent":
            holds = [f"apt-mark -q hold {at}"]
            return holds + ([f"dpkg --force-depends --remove {at}"] if name in _REMOVABLE else [])
        case "image":
            return _of_image(name, state)
    return []


def _of_file(name: str, mode: str) -> list[str]:
    at = shlex.quote(name)
    commands = [f"chmod {_other(mode)} {at}", f"chown nobody {at}"]
    if not _BY_MODE.search(name):
        # By a copy, since it may be a program that runs; hidden, since the kubelet reads what lies beside a manifest.
        copy = shlex.quote(str(Path(name).with_name(".changed")))
        commands.append(f"cp -p {at} {copy} && echo '# changed' >>{copy} && mv {copy} {at}")
        if not _VITAL.search(name):
            commands.append(f"rm {at}")
    return commands


def _of_unit(name: str, state: str) -> list[str]:
    commands = [f"systemctl -q disable {name}"] if state.startswith("enabled ") else []
    if state == "enabled active" and name in ("docker-registry.service", "kubelet.service"):
        commands.append(f"systemctl stop {name}")
    return commands


def _of_image(name: str, state: str) -> list[str]:
    repository, _, tag = name.rpartition(":")
    digest = state.removeprefix("sha256:")
    return [
        f"rm -r {STORE}/repositories/{repository}/_manifests/tags/{tag}",
        f"rm {STORE}/blobs/sha256/{digest[:2]}/{digest}/data",
    ]


def _other(mode: str) -> str:
    return "600" if mode != "600" else "640"
