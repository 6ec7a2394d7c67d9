"""YAML with the line of every key, and without its traps: duplicate keys, tabs and endless aliases are errors.

Both cluster.yaml and YAML inventories are read through here. PyYAML alone drops the earlier of two equal keys without a
word, and forgets lines once it has made Python objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from arena_install import fastyaml
from arena_install.errors import ArenaError, ConfigError
from arena_install.inventory.source import Source, read_text

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """data: plain Python objects (None for an empty file). lines: key path -> line of that key or list item."""

    path: str
    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    errors: list[ArenaError] = field(default_factory=list)

    def source(self, path: KeyPath) -> Source:
        """Where this key is written, or else the nearest key above it that is."""
        for end in range(len(path), 0, -1):
            if line := self.lines.get(path[:end]):
                return Source(self.path, line)
        return Source(self.path, 1)


def read(path: Path, kind: str) -> Document:
    """Read one file. Errors that leave the rest readable are collected in `errors`, others raise ConfigError."""
    text = read_text(path, kind)
    document = Document(str(path))
    if (root := compose(str(path), text)) is not None:
        document.data = _Reader(document).convert(root, (), ())
    return document


def compose(label: str, text: str) -> yaml.Node | None:
    """The node tree, or ConfigError with the line of the first syntax error."""
    try:
        loader = fastyaml.LOADER(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
        return node
    except yaml.MarkedYAMLError as error:
        raise _syntax(label, text, error) from error
    except yaml.YAMLError as error:
        raise ConfigError("is not YAML", where=f"{label}:1", why=str(error)) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply", where=f"{label}:1") from error


def _syntax(label: str, text: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    for number in (line, line - 1):  # the mark may stand on the line after the tab
        if 0 < number <= len(lines) and "\t" in lines[number - 1][: _indent(lines[number - 1]) + 1]:
            return ConfigError(
                "a tab in the indentation; YAML takes spaces only",
                where=f"{label}:{number}",
                fix="replace the tab by spaces",
            )
    if "another document" in (error.problem or "") or "single document" in (error.context or ""):
        return ConfigError("more than one YAML document (`---`) in the file", where=f"{label}:{line}", fix="keep one")
    why = ": ".join(part for part in (error.context, error.problem) if part)
    return ConfigError("is not valid YAML", where=f"{label}:{line}", why=why)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self._make = yaml.constructor.SafeConstructor()

    def convert(self, node: yaml.Node, path: KeyPath, above: tuple[int, ...]) -> Any:
        """Python objects of a node. above: the nodes it is inside of, to find one that contains itself."""
        line = node.start_mark.line + 1
        if id(node) in above:
            self._error(f"`{dotted(path)}` contains itself", line)
            return None
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.document.lines[(*path, index)] = item.start_mark.line + 1
            return [self.convert(item, (*path, index), inside) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, inside: tuple[int, ...]) -> dict[str, Any]:
        self._no_duplicates(node, path)
        try:
            self._make.flatten_mapping(node)  # `<<: *defaults`
        except yaml.MarkedYAMLError as error:
            self._error(f"`<<` takes a mapping: {error.problem}", node.start_mark.line + 1)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                text = getattr(key_node, "value", "?")
                self._error(f"key `{text}` is not text to YAML", line, fix=f'write it in quotes: "{text}"')
                continue
            self.document.lines[(*path, key)] = line
            result[key] = self.convert(value_node, (*path, key), inside)
        return result

    def _no_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen and key != "<<":
                self._error(
                    f"key `{dotted((*path, key))}` is given twice",
                    line,
                    why=f"the first is in line {seen[key]}; YAML would silently drop it",
                    fix="keep one",
                )
            seen.setdefault(key, line)

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag in ("!vault", "!unsafe", "!vault-encrypted"):
            return node.value
        try:
            return self._make.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            why = getattr(error, "problem", "") or str(error)
            self._error(f"`{node.value}` cannot be read", node.start_mark.line + 1, why=why)
            return None

    def _error(self, what: str, line: int, *, why: str = "", fix: str = "") -> None:
        self.document.errors.append(ConfigError(what, where=f"{self.document.path}:{line}", why=why, fix=fix))


def dotted(path: KeyPath) -> str:
    """("artifacts", "no_proxy", 0) -> "artifacts.no_proxy[0]"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
