"""What an inventory means, asked of Ansible itself: child groups, ranges, host_vars and group_vars, templates, vault.

Ansible runs as a child process (it is GPL and keeps global state), with the settings that would change the
meaning behind the user's back pinned, and with the ansible.cfg that our playbooks run with. The rest of the environment
still counts, ANSIBLE_VAULT_PASSWORD_FILE above all.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_install import paths
from arena_install.errors import ConfigError, TimedOutError

_SECONDS = 120
_PINNED = {
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS": "ignore",  # kube-master keeps its name
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_DEPRECATION_WARNINGS": "False",
    "ANSIBLE_LOCALHOST_WARNING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    "LC_ALL": "C.UTF-8",  # Ansible refuses to start under any other encoding
}
#: Left out of the environment: they would add to the output, or write resolved values, which may be secrets, to a file.
_DROPPED = ("ANSIBLE_LOG_PATH", "ANSIBLE_DEBUG", "ANSIBLE_VERBOSITY", "ANSIBLE_CALLBACKS_ENABLED", "ANSIBLE_STRATEGY")


@dataclass(frozen=True)
class Meaning:
    """groups: group -> its hosts in the inventory's order, those of child groups included. vars: host -> variables.

    failed: host -> variable -> why its template or vault value could not be resolved; it stands in vars as written.
    """

    groups: Mapping[str, tuple[str, ...]]
    vars: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, Mapping[str, str]]


def ask(inventory: Path, plugins: str, keys: Iterable[str]) -> Meaning:
    """What Ansible reads. plugins: comma-separated inventory plugins that may do so. keys: variables to resolve.

    The values come back on a pipe; only the variables' names are in the arguments.
    Raises ConfigError with Ansible's own words and, where it names one, the line; TimedOutError after two minutes.
    """
    answer = _run(["-i", str(inventory.absolute()), "--list"], plugins, ",".join(sorted(keys)))
    if answer.returncode:
        raise _refused(inventory, answer.stderr)
    try:
        listing: dict[str, Any] = json.loads(answer.stdout)
    except ValueError as error:
        what = "ansible-inventory's answer is not JSON"
        raise ConfigError(what, where=str(inventory), why=answer.stdout[:200]) from error
    meta: dict[str, Any] = listing.pop("_meta", {})
    groups = {name: tuple(dict.fromkeys(_members(name, listing, ()))) for name in {*listing, *_named(listing)}}
    values: dict[str, Mapping[str, Any]] = {name: {} for hosts in groups.values() for name in hosts}
    resolved = meta.get("resolved", {})
    values |= {host: {**given, **resolved.get(host, {})} for host, given in meta.get("hostvars", {}).items()}
    return Meaning(groups, values, meta.get("failed", {}))


def _named(listing: Mapping[str, Any]) -> Iterable[str]:
    """Groups without hosts are only named by their parents."""
    return (child for body in listing.values() for child in body.get("children", ()))


def _members(group: str, listing: Mapping[str, Any], above: Sequence[str]) -> Iterable[str]:
    body = listing.get(group, {})
    yield from body.get("hosts", ())
    for child in body.get("children", ()):
        if child not in above:
            yield from _members(child, listing, (*above, group))


def home(folder: Path) -> dict[str, str]:
    """Environment that keeps Ansible from making ~/.ansible, where its own folder is not named; what the user has put
    there (collections, with inventory plugins among them) is found all the same."""
    if "ANSIBLE_HOME" in os.environ:
        return {}
    collections = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "~/.ansible/collections:/usr/share/ansible/collections")
    return {"ANSIBLE_HOME": str(folder / "ansible-home"), "ANSIBLE_COLLECTIONS_PATH": collections}


def _run(arguments: list[str], plugins: str, keys: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(Path(__file__).with_name("reader.py")), keys]
    with tempfile.TemporaryDirectory(prefix="arena-install-") as scratch:
        given = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        environment = {**given, **_PINNED, "ANSIBLE_CONFIG": _config(scratch), "ANSIBLE_LOCAL_TEMP": scratch}
        environment |= {"ANSIBLE_INVENTORY_ENABLED": plugins, **home(Path(scratch))}
        try:
            return subprocess.run(
                [*command, *arguments], env=environment, text=True, encoding="utf-8", errors="replace",
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"Ansible did not answer within {_SECONDS} s", where=arguments[1]) from error


def _config(scratch: str) -> str:
    """The ansible.cfg that playbooks run with, so that both read the inventory alike; never one that lies about."""
    ours = paths.data_dir() / "playbooks" / "ansible.cfg"
    if ours.is_file():
        return str(ours)
    empty = Path(scratch) / "ansible.cfg"
    empty.touch()
    return str(empty)


_NOISE = re.compile(
    r"\s*(Origin:|\d+ |\^|<<)|Completely failed|Failed to parse inventory with '\w+' plugin\.$|.*context unavailable"
)


def _refused(inventory: Path, stderr: str) -> ConfigError:
    reasons = [
        line.rpartition("Failed to parse inventory: ")[2].strip()
        for line in re.sub(r"\[(WARNING|ERROR)\]: ", "", stderr.partition("Traceback (")[0]).splitlines()
        if line.strip() and not _NOISE.match(line)
    ]
    why = "\n".join(list(dict.fromkeys(reasons))[:4]) or "it gave no reason"
    where = _origin(stderr) or str(inventory)
    return ConfigError("Ansible cannot read this inventory", where=where, why=why, fix=vault_fix(stderr))


def vault_fix(message: str) -> str:
    """The way out when Ansible's message is about a vault, else ""."""
    if "vault" not in message.lower():
        return ""
    return "export ANSIBLE_VAULT_PASSWORD_FILE=FILE with the file that holds the vault password"


def _origin(stderr: str) -> str:
    match = re.search(r"^Origin: (/[^\n]*?):(\d+)(?::\d+)?$", stderr, re.M)
    return _relative(match.group(1), int(match.group(2))) if match else ""


def _relative(path: str, line: int) -> str:
    """As seen from where the user stands, if the file lies below."""
    try:
        return f"{Path(path).relative_to(Path.cwd())}:{line}"
    except ValueError:
        return f"{path}:{line}"
