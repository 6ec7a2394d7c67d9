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
    "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "False",
    "ANSIBLE_FORKS": "20",
    "LC_ALL": "C.UTF-8",  # Ansible refuses to start under any other encoding
}
#: Left out of the environment: they would add to the output, or write resolved values, which may be secrets, to a file.
_DROPPED = ("ANSIBLE_LOG_PATH", "ANSIBLE_DEBUG", "ANSIBLE_VERBOSITY", "ANSIBLE_CALLBACKS_ENABLED", "ANSIBLE_STRATEGY")


@dataclass(frozen=True)
class Meaning:
    """groups: group -> its hosts in the inventory's order, those of child groups included. vars: host -> variables."""

    groups: Mapping[str, tuple[str, ...]]
    vars: Mapping[str, Mapping[str, Any]]


def ask(inventory: Path, plugins: str) -> Meaning:
    """Run `ansible-inventory --list`. plugins: comma-separated inventory plugins that may read the file.

    Raises ConfigError with Ansible's own words and, where it names one, the line; TimedOutError after two minutes.
    """
    answer = _run("ansible-inventory", ["-i", str(inventory.absolute()), "--list"], plugins)
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
    values.update(meta.get("hostvars", {}))
    return Meaning(groups, values)


def _named(listing: Mapping[str, Any]) -> Iterable[str]:
    """Groups without hosts are only named by their parents."""
    return (child for body in listing.values() for child in body.get("children", ()))


def _members(group: str, listing: Mapping[str, Any], above: Sequence[str]) -> Iterable[str]:
    body = listing.get(group, {})
    yield from body.get("hosts", ())
    for child in body.get("children", ()):
        if child not in above:
            yield from _members(child, listing, (*above, group))


def unresolved(value: Any) -> bool:
    """Whether a variable is still a template or encrypted, as `--list` leaves both."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return isinstance(value, dict) and "__ansible_vault" in value


@dataclass(frozen=True)
class Resolved:
    """values: host -> variable -> value, None where it is not set. failed: host -> Ansible's reason."""

    values: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]


def resolve(inventory: Path, plugins: str, keys: Iterable[str]) -> Resolved:
    """These variables of every host with templates rendered and vault values decrypted.

    The values come back on a pipe; only the variables' names are in the arguments. Raises ConfigError, TimedOutError.
    """
    wanted = ", ".join(f'"{key}": {key} | default(none)' for key in sorted(keys))
    message = "msg={{ {" + wanted + "} }}"
    arguments = ["-i", str(inventory.absolute()), "all", "-m", "ansible.builtin.debug", "-a", message]
    answer = _run("ansible", arguments, plugins)
    values: dict[str, Mapping[str, Any]] = {}
    failed: dict[str, str] = {}
    decoder = json.JSONDecoder()
    for match in re.finditer(r"^(\S+) \| (SUCCESS|FAILED!|UNREACHABLE!) => (?=\{)", answer.stdout, re.M):
        body = decoder.raw_decode(answer.stdout, match.end())[0]
        if match.group(2) == "SUCCESS":
            values[match.group(1)] = body["msg"]
        else:
            failed[match.group(1)] = re.sub(r"^Task failed: |Error [a-z]+ \w+( '\w+')?: ", "", str(body.get("msg", "")))
    if answer.returncode and not failed:
        raise _refused(inventory, answer.stderr)
    return Resolved(values, failed)


def _run(tool: str, arguments: list[str], plugins: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).parent / tool
    module = [sys.executable, "-P", "-m", "ansible", tool.removeprefix("ansible-").replace("ansible", "adhoc")]
    command = [str(script)] if script.is_file() else module
    with tempfile.TemporaryDirectory(prefix="arena-install-") as scratch:
        given = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        environment = {**given, **_PINNED, "ANSIBLE_CONFIG": _config(scratch), "ANSIBLE_LOCAL_TEMP": scratch}
        environment["ANSIBLE_INVENTORY_ENABLED"] = plugins
        try:
            return subprocess.run(
                [*command, *arguments], env=environment, text=True, encoding="utf-8", errors="replace",
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"{tool} did not answer within {_SECONDS} s", where=arguments[1]) from error


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
