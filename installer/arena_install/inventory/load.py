"""hosts.ini and cluster.yaml in, one checked Cluster out; or every error that was found, each with its line."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from arena_install import paths
from arena_install.errors import ArenaError, ConfigError, ErrorGroup
from arena_install.inventory import ansible, checks, hosts, roles, settings, ssh, yamlfile
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.inventory.scan import Scan
from arena_install.inventory.scan_ini import scan_ini
from arena_install.inventory.scan_yaml import scan_yaml
from arena_install.inventory.source import Source, has_bom, read_text
from arena_install.inventory.yamlfile import Document

_YAML_SUFFIXES = (".yml", ".yaml", ".json")
#: As Ansible skips them in a folder of inventories.
_SKIPPED_SUFFIXES = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")
_SKIPPED_FOLDERS = ("group_vars", "host_vars", "vars_plugins")


def load(inventory: Path | None, config: Path | None) -> Cluster:
    """The cluster that these two files describe. inventory None: a cluster without hosts (the cluster scope alone).

    Raises ConfigError, or an ErrorGroup of them when there are several: first for what the texts alone show, then for
    what only Ansible's reading of the inventory can show.
    """
    document: Document | None = None
    given: Config | None = None
    errors: list[ArenaError] = []
    if config is not None:
        given, document, errors = settings.read(config)
    settled = given or Config()
    if inventory is None:
        _raise(errors)
        return Cluster(settled.name, (), settled, None)
    scan = Scan(str(inventory))
    plugins = _scan(inventory, scan)
    scan.check()
    folder = inventory if inventory.is_dir() else inventory.parent
    _check_lines(scan, folder)
    _raise([*errors, *scan.errors])
    plain = _without_bom(inventory)
    meaning = _ask(plain, plugins, scan, folder)
    assigned = roles.assign(meaning, scan)
    found = _hosts(folder, scan, meaning, assigned)
    _raise(scan.errors)
    cluster = Cluster(settled.name, found, settled, plain.absolute(), tuple(assigned.others))
    _raise([*checks.one_address_each(found), *checks.together(cluster, document, scan.first_of("control_plane"))])
    return cluster


def overlay(cluster: Cluster) -> dict[str, Any]:
    """An inventory of our own to give Ansible after the user's (as YAML or JSON), so that it sees what load() saw.

    It holds our groups under their canonical names, defaults included, and absolute key files; no secrets.
    """
    groups = sorted({group for host in cluster.hosts for group in host.groups})
    children: dict[str, Any] = {group: {"hosts": {host.name: {} for host in cluster.group(group)}} for group in groups}
    keys = {host.name: {key: host.vars[key] for key in ssh.KEY_FILE if host.vars.get(key)} for host in cluster.hosts}
    return {"all": {"hosts": keys, "children": children}}


def _raise(errors: list[ArenaError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorGroup(errors)


def _scan(inventory: Path, scan: Scan) -> str:
    """Read the text of the inventory for lines and first errors; returns the Ansible plugins that are to read it."""
    if inventory.is_dir():
        files = [file for file in sorted(inventory.iterdir()) if _is_source(file)]
        if not files:
            scan.wrong(Source(scan.path), "is a folder without an inventory in it", fix="name the file")
        for file in files:
            scan.path = str(file)
            _scan_file(file, scan)
        scan.path = str(inventory)
        return "script,auto,yaml,ini"
    return _scan_file(inventory, scan)


def _check_lines(scan: Scan, folder: Path) -> None:
    """Values in the hosts' own lines, which only a host_vars folder could overrule."""
    if (folder / "host_vars").is_dir():
        return
    maker = hosts.Maker(scan, hosts.Places(scan, folder, {}), folder.absolute())
    for name in scan.named_by_us():
        own = scan.values.get(name, {})
        maker.check(name, {key: value for key, value in own.items() if not _left_to_ansible(value)})


def _left_to_ansible(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value or value.startswith("$ANSIBLE_VAULT;"))


def _is_source(file: Path) -> bool:
    hidden = file.name.startswith(".") or file.name.endswith(_SKIPPED_SUFFIXES)
    return file.name not in _SKIPPED_FOLDERS and not hidden and file.is_file()


def _scan_file(file: Path, scan: Scan) -> str:
    try:
        text = read_text(file, "an inventory")
    except ConfigError as error:
        scan.errors.append(error)
        return ""
    if text.startswith("#!") and os.access(file, os.X_OK):
        scan.complete = False
        return "script"
    if file.suffix in _YAML_SUFFIXES or (not file.suffix and re.match(r"(\s*(#.*)?\n)*(---|[\w-]+:[ \t]*\n)", text)):
        scan_yaml(scan, file)
        return "auto,yaml"
    scan_ini(scan, text)
    return "ini"


def _without_bom(inventory: Path) -> Path:
    """Ansible's INI reader takes a byte order mark for part of the first line: give it a copy without, in our state."""
    if inventory.is_dir() or not has_bom(inventory):
        return inventory
    digest = hashlib.sha256(str(inventory.absolute()).encode()).hexdigest()[:16]
    folder = paths.state_home() / "inventories" / digest
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy = folder / inventory.name
    copy.touch(mode=0o600)
    copy.write_text(read_text(inventory, "an inventory"), encoding="utf-8")
    for name in ("group_vars", "host_vars"):
        link = folder / name
        link.unlink(missing_ok=True)
        if (beside := inventory.absolute().parent / name).is_dir():
            link.symlink_to(beside)
    return copy


def _ask(inventory: Path, plugins: str, scan: Scan, folder: Path) -> ansible.Meaning:
    """Ansible's reading, with templates and vault values resolved in the variables that we act on."""
    try:
        meaning = ansible.ask(inventory, plugins, ssh.UNDERSTOOD)
    except ConfigError as error:
        _raise([*_broken_variables(folder), error][:1])  # Ansible does not always name the file that it stumbled over
        raise
    places = hosts.Places(scan, folder, meaning.groups)
    said: set[tuple[Source, str]] = set()  # a group's wrong value is said once, not for each of its hosts
    for host, reasons in meaning.failed.items():
        for key, reason in reasons.items():
            where = places.of(host, key)
            if (where, reason) not in said:
                what = f"host `{host}`: {key} cannot be resolved"
                scan.wrong(where, what, why=reason, fix=ansible.vault_fix(reason))
            said.add((where, reason))
    _raise(scan.errors)
    return meaning


def _broken_variables(folder: Path) -> list[ArenaError]:
    """Syntax errors in host_vars and group_vars."""
    found: list[ArenaError] = []
    for file in sorted(file for kind in ("group_vars", "host_vars") for file in (folder / kind).rglob("*")):
        if not file.is_file() or file.name.startswith(".") or file.suffix not in ("", *_YAML_SUFFIXES):
            continue
        try:
            found += yamlfile.read(file, "a file of variables").errors
        except ConfigError as error:
            found.append(error)
    return found


def _hosts(folder: Path, scan: Scan, meaning: ansible.Meaning, assigned: roles.Roles) -> tuple[Host, ...]:
    maker = hosts.Maker(scan, hosts.Places(scan, folder, meaning.groups), folder.absolute())
    made: list[Host] = []
    for name, groups in assigned.hosts.items():
        if not scan.check_name(name):
            continue
        if host := maker.make(name, frozenset(groups), meaning.vars.get(name, {})):
            made.append(host)
    return tuple(made)
