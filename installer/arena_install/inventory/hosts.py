"""A Host out of Ansible's variables: each value that we act on is checked, and a wrong one is shown with its line."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from arena_install.errors import ConfigError
from arena_install.inventory import ssh, yamlfile
from arena_install.inventory.cluster import Host
from arena_install.inventory.names import address, address_fault
from arena_install.inventory.scan import Scan
from arena_install.inventory.source import Source
from arena_install.suggest import did_you_mean

_CONNECTIONS = ("ssh", "local", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.local")
_METHODS = ("sudo", "su", "doas")
#: Longer roads to a host's variable than its own line; Ansible's precedence, strongest first.
_SUFFIXES = ("", ".yml", ".yaml", ".json")


class Places:
    """Finds the line where a host got a variable: in host_vars and group_vars folders, on its line, in its groups."""

    def __init__(self, scan: Scan, folder: Path, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._scan, self._folder, self._groups = scan, folder, groups
        self._documents: dict[Path, yamlfile.Document | None] = {}

    def of(self, host: str, key: str) -> Source:
        groups = [name for name, hosts in self._groups.items() if host in hosts and name not in ("all", "ungrouped")]
        return (
            self._file("host_vars", host, key)
            or self._scan.host_vars.get((host, key))
            or next((found for name in groups if (found := self._file("group_vars", name, key))), None)
            or next((found for name in groups if (found := self._scan.group_vars.get((name, key)))), None)
            or self._file("group_vars", "all", key)
            or self._scan.group_vars.get(("all", key))
            or self._scan.host(host)
        )

    def _file(self, kind: str, name: str, key: str) -> Source | None:
        base = self._folder / kind
        files = [base / f"{name}{suffix}" for suffix in _SUFFIXES]
        if (base / name).is_dir():
            files += sorted((base / name).iterdir())
        for file in files:
            document = self._read(file)
            if document and (line := document.lines.get((key,))):
                return Source(document.path, line)
        return None

    def _read(self, file: Path) -> yamlfile.Document | None:
        if file not in self._documents:
            try:
                self._documents[file] = yamlfile.read(file, "a file of variables") if file.is_file() else None
            except ConfigError:
                self._documents[file] = None
        return self._documents[file]


class Maker:
    """Makes Hosts; collects errors in the scan."""

    def __init__(self, scan: Scan, places: Places, folder: Path) -> None:
        self._scan, self._places, self._folder = scan, places, folder
        self._said: set[tuple[Source, str]] = set()  # a group's wrong value is said once, not for each of its hosts
        self._fine = True

    def check(self, name: str, given: Mapping[str, Any]) -> None:
        """Only report what is wrong with these variables of a host, which may have others elsewhere."""
        values = dict(given)
        if ssh.pick(values, ssh.HOST)[0]:
            self._address(name, values)
        self._node_ip(name, values, "")
        self._port(name, values)
        self._key_file(name, values)
        self._words(name, values)

    def make(self, name: str, groups: frozenset[str], given: Mapping[str, Any]) -> Host | None:
        """None when a value that we act on is wrong."""
        self._fine = True
        values = dict(given)
        target = self._address(name, values)
        node_ip = self._node_ip(name, values, target)
        self._port(name, values)
        self._key_file(name, values)
        self._words(name, values)
        if not self._fine:
            return None
        return Host(name, groups, target, node_ip, values, self._scan.host(name))

    def _wrong(self, host: str, key: str, what: str, *, why: str = "", fix: str = "") -> None:
        self._fine = False
        where = self._places.of(host, key) if key else self._scan.host(host)
        if key and (where, what) in self._said:
            return
        self._said.add((where, what))
        self._scan.wrong(where, f"host `{host}`: {what}", why=why, fix=fix)

    def _address(self, name: str, values: dict[str, Any]) -> str:
        key, value = ssh.pick(values, ssh.HOST)
        target = str(value).strip() if key else name
        fault = "it is empty" if not target else address_fault(target)
        if fault:
            self._wrong(name, key, f"{key or 'its name'} `{target}` cannot be connected to", why=fault)
        return target

    def _node_ip(self, name: str, values: dict[str, Any], target: str) -> str:
        key, value = ssh.pick(values, ssh.NODE_IP)
        if not key:
            found = address(target)
            reachable = isinstance(found, IPv4Address) and not (found.is_loopback or found.is_unspecified)
            return str(found) if reachable else ""
        found = address(str(value).strip())
        if not isinstance(found, IPv4Address):
            self._wrong(name, key, f"ip `{value}` is not an IPv4 address", fix="write ip=10.0.0.5, the node's address")
            return ""
        if found.is_loopback or found.is_unspecified or found.is_multicast:
            self._wrong(name, key, f"ip {found} is no address at which other nodes can reach it")
        return str(found)

    def _port(self, name: str, values: dict[str, Any]) -> None:
        key, value = ssh.pick(values, ssh.PORT)
        if not key:
            return
        text = str(value).strip()
        if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
            self._wrong(name, key, f"{key} `{value}` is not a port", why="a number from 1 to 65535 is needed")

    def _key_file(self, name: str, values: dict[str, Any]) -> None:
        """Relative to the inventory's folder, whatever the folder that the program runs in."""
        chosen, _ = ssh.pick(values, ssh.KEY_FILE)
        for key in ssh.KEY_FILE:
            if values.get(key):
                values[key] = str((self._folder / Path(str(values[key])).expanduser()).absolute())
        if not chosen or not values[chosen]:
            return
        file = Path(values[chosen])
        try:
            if not file.is_file():
                self._wrong(
                    name,
                    chosen,
                    f"no such key file: {file}",
                    why="key files are relative to the inventory's folder" if self._folder in file.parents else "",
                )
                return
            with file.open("rb") as opened:
                head = opened.read(64)
        except OSError as error:
            self._wrong(name, chosen, f"key file {file} cannot be read", why=error.strerror or str(error))
            return
        if head.startswith((b"ssh-", b"ecdsa-", b"sk-")):
            self._wrong(
                name, chosen, f"{file} is a public key", fix=f"name the private one, {str(file).removesuffix('.pub')}"
            )
        elif file.stat().st_mode & 0o077:
            self._wrong(
                name,
                chosen,
                f"key file {file} can be read by others",
                why="ssh refuses such a key",
                fix=f"chmod 600 {file}",
            )

    def _words(self, name: str, values: dict[str, Any]) -> None:
        for key in ssh.SECRETS:
            if isinstance(values.get(key), dict | list):
                self._wrong(name, key, f"{key} is not text")
        for key in ssh.ARGS:
            try:
                ssh.arguments({key: values.get(key)})
            except ValueError as error:
                self._wrong(name, key, f"{key} has a quote that is not closed", why=str(error))
        for keys in (ssh.BECOME, ssh.HOST_KEY_CHECKING):
            key, value = ssh.pick(values, keys)
            if key and ssh.boolean(value) is None:
                self._wrong(name, key, f"{key} `{value}` is neither true nor false")
        self._one_of(name, values, ssh.CONNECTION, _CONNECTIONS)
        self._one_of(name, values, ssh.BECOME_METHOD, _METHODS)
        key, value = ssh.pick(values, ssh.BECOME_USER)
        if key and str(value) != "root":
            self._wrong(
                name,
                key,
                f"{key} is `{value}`, root is needed",
                why="roles write to system folders",
                fix="leave it out",
            )
        user_key, user = ssh.pick(values, ssh.USER)
        if user_key and (not str(user).strip() or any(char.isspace() for char in str(user))):
            self._wrong(name, user_key, f"{user_key} `{user}` is not a user's name")
        key, value = ssh.pick(values, ssh.BECOME)
        if key and ssh.boolean(value) is False and user_key and str(user) != "root":
            self._wrong(
                name,
                key,
                f"{key} is off, but the login `{user}` is not root",
                why="roles must become root",
                fix=f"leave {key} out, or log in as root",
            )

    def _one_of(self, name: str, values: dict[str, Any], keys: tuple[str, ...], known: tuple[str, ...]) -> None:
        key, value = ssh.pick(values, keys)
        if key and str(value).removeprefix("ansible.builtin.") not in known:
            self._wrong(name, key, f"{key} `{value}` is not supported", fix=did_you_mean(str(value), known[:3]))
