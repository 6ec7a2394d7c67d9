"""Lines of a YAML inventory: groups with `hosts`, `children` and `vars`, nested at will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arena_install.errors import ConfigError
from arena_install.inventory import yamlfile
from arena_install.inventory.scan import Scan, expand
from arena_install.inventory.yamlfile import Document, KeyPath
from arena_install.suggest import did_you_mean

_PARTS = ("hosts", "children", "vars")


def scan_yaml(scan: Scan, path: Path) -> None:
    """Fill `scan` from one YAML or JSON inventory; a plugin's configuration is left to Ansible."""
    try:
        document = yamlfile.read(path, "an inventory")
    except ConfigError as error:
        scan.errors.append(error)
        return
    scan.errors += document.errors
    if document.data is None:
        return
    if not isinstance(document.data, dict):
        scan.wrong(1, "is not a mapping of groups", fix="begin with `all:`, its groups under `children:`")
        return
    if "plugin" in document.data:
        scan.complete = False
        return
    for name, body in document.data.items():
        _group(scan, document, name, body, (name,))


def _line(document: Document, path: KeyPath) -> int:
    return document.source(path).line


def _group(scan: Scan, document: Document, name: str, body: Any, path: KeyPath) -> None:
    scan.add_group(name, _line(document, path))
    if body is None:
        return
    if not isinstance(body, dict):
        scan.wrong(_line(document, path), f"group `{name}` must be a mapping with hosts, children or vars")
        return
    for part, value in body.items():
        line = _line(document, (*path, part))
        if part not in _PARTS:
            scan.wrong(
                line,
                f"`{part}` is not a part of group `{name}`",
                why="Ansible would ignore it",
                fix=did_you_mean(part, _PARTS),
            )
        elif value is not None and not isinstance(value, dict):
            scan.wrong(
                line,
                f"`{part}` of group `{name}` must be a mapping (`name:` lines)",
                fix="end each name with a colon instead of writing a list",
            )
    hosts, children, variables = (_mapping(body.get(part)) for part in _PARTS)
    for pattern, values in hosts.items():
        _host(scan, document, name, pattern, values, (*path, "hosts", pattern))
    for child, inner in children.items():
        below = (*path, "children", child)
        scan.add_child(name, child, _line(document, below))
        _group(scan, document, child, inner, below)
    for key in variables:
        scan.add_group_var(name, key, _line(document, (*path, "vars", key)))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _host(scan: Scan, document: Document, group: str, pattern: str, values: Any, path: KeyPath) -> None:
    line = _line(document, path)
    try:
        hosts = expand(pattern)
    except ValueError as error:
        scan.wrong(line, "bad range of hosts", why=str(error))
        return
    if values is not None and not isinstance(values, dict):
        scan.wrong(line, f"host `{pattern}` must be followed by a mapping of variables or by nothing")
    for host in hosts:
        scan.add_host(group, host, line)
        for key, value in _mapping(values).items():
            scan.add_var(host, key, value, _line(document, (*path, key)))
