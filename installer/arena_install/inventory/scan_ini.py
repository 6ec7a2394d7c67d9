"""Lines of an INI inventory. Only the outer form is read: sections, host patterns, the names of variables."""

from __future__ import annotations

import re
import shlex

from arena_install.inventory import ssh
from arena_install.inventory.names import address
from arena_install.inventory.scan import Scan, expand
from arena_install.suggest import did_you_mean

_SECTION = re.compile(r"\[([^\]]*)\]\s*(.*)")
_KINDS = ("hosts", "children", "vars")
_YAML_LINE = re.compile(r"(---|[\w-]+:)\s*(#.*)?")


def scan_ini(scan: Scan, text: str) -> None:
    """Fill `scan` from the text of one INI file."""
    _Ini(scan).read(text)


#: More errors than this are not typed by hand: it is another kind of file, and not ours to print.
_ENOUGH = 10


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:37] + "..."


class _Ini:
    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.group, self.kind = "ungrouped", "hosts"
        self.undeclared: dict[str, tuple[int, str]] = {}  # group -> line and section that needs it
        self.declared = {"all", "ungrouped"}
        self.addresses: dict[tuple[str, str], tuple[str, int]] = {}

    def read(self, text: str) -> None:
        anything = False
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            if not anything and _YAML_LINE.fullmatch(line):
                self.scan.wrong(
                    number,
                    "looks like YAML, but the file's name says INI",
                    fix="give the file a name that ends in .yml",
                )
                return
            anything = True
            if len(self.scan.errors) >= _ENOUGH:
                self.scan.wrong(number, f"{_ENOUGH} errors so far, the rest is not read", fix="is this an inventory?")
                self.scan.complete = False
                return
            if line.startswith("["):
                self._section(line, number)
            elif self.kind == "hosts":
                self._host(line, number)
            elif self.kind == "children":
                self._child(line, number)
            elif self.kind == "vars":
                self._variable(line, number)
        for group, (number, section) in self.undeclared.items():
            if group not in self.declared:
                known = sorted(self.declared - {"ungrouped"})
                self.scan.wrong(
                    number, f"{section} names group `{group}`, which is not in the file", fix=did_you_mean(group, known)
                )

    def _section(self, line: str, number: int) -> None:
        match = _SECTION.fullmatch(line)
        if not match or (match.group(2) and not match.group(2).startswith("#")):
            # a host pattern may begin with a range, and so with a bracket
            if match and self.kind == "hosts" and ":" in match.group(1) and not match.group(2).startswith(" "):
                self._host(line, number)
                return
            self.kind = "skip"
            self.scan.wrong(
                number, f"`{line}` is not a section header", fix="write [group], [group:children] or [group:vars]"
            )
            return
        name, colon, kind = match.group(1).partition(":")
        self.kind = kind if colon else "hosts"
        if not name or re.search(r"\s", name) or ":" in kind:
            self.kind = "skip"
            self.scan.wrong(
                number, f"`[{match.group(1)}]` is not a group's name", fix="use letters, digits, `_` and `-` only"
            )
            return
        if self.kind not in _KINDS:
            self.scan.wrong(
                number, f"`[{name}:{kind}]`: unknown kind of section `{kind}`", fix=did_you_mean(kind, _KINDS)
            )
            self.kind = "skip"
        self.group = name
        if self.kind == "vars":
            self.undeclared.setdefault(name, (number, f"[{name}:vars]"))
        else:
            self.declared.add(name)
            self.scan.add_group(name, number)

    def _host(self, line: str, number: int) -> None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self.scan.wrong(
                number, f"a quote is not closed: {line.split()[0]} ...", why=str(error), fix="close the quote"
            )
            return
        if not words:
            return
        hosts = self._pattern(words[0], number)
        for host in hosts:
            self.scan.add_host(self.group, host, number)
        seen: dict[str, str] = {}
        before = ""
        for word in words[1:]:
            key, equals, value = word.partition("=")
            if not equals or not key:
                if before in ssh.SECRETS:  # then the word is a part of the secret
                    self.scan.wrong(number, f"the value of `{before}` ends at a space", fix="put the value in quotes")
                    return
                fix = "write key=value, without spaces around `=`"
                if address(word):
                    fix = f"did you mean `ansible_host={word}`?"
                self.scan.wrong(number, f"`{_short(word)}` is not a variable (key=value)", fix=fix)
                return
            before = key
            if key in seen and seen[key] != value:
                self.scan.wrong(number, f"`{key}` is given twice with different values", fix="keep one")
            seen[key] = value
            for host in hosts:
                self.scan.add_var(host, key, value, number)
                self._one_address(host, key, value, number)
            if not hosts:
                self.scan.misspelt(key, number)

    def _one_address(self, host: str, key: str, value: str, number: int) -> None:
        """Ansible takes the last of several lines for one host; two addresses are two machines, or a slip."""
        if key not in ("ansible_host", "ansible_ssh_host", "ip"):
            return
        other, line = self.addresses.setdefault((host, key), (value, number))
        if other != value and line != number:
            what = f"host `{host}` has {key}={value} here and {key}={other} in line {line}"
            self.scan.wrong(number, what, fix="keep one")

    def _pattern(self, pattern: str, number: int) -> list[str]:
        if address(pattern) or address(pattern.strip("[]")):
            return [pattern.strip("[]")]
        match = re.fullmatch(r"((?:[^:\[\]]|\[[^\]]*\])+)(?::(.*))?", pattern)
        if not match:
            self.scan.wrong(number, f"`{_short(pattern)}` is not a host name or a range of them")
            return []
        name, port = match.group(1), match.group(2)
        if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            self.scan.wrong(
                number,
                f"`{_short(port)}` is not a port (1 to 65535)",
                fix=f"write {name}:22, or {name} ansible_port=22",
            )
        if not _RANGE_OR_NAME.search(name):
            return [name]
        try:
            return expand(name)
        except ValueError as error:
            self.scan.wrong(number, "bad range of hosts", why=str(error))
            return []

    def _child(self, line: str, number: int) -> None:
        name = line.partition("#")[0].strip()
        if re.search(r"[\s:=\[\]]", name):
            self.scan.wrong(number, f"`{name}` is not a group's name; [{self.group}:children] lists groups, one a line")
            return
        self.undeclared.setdefault(name, (number, f"[{self.group}:children]"))
        self.scan.add_child(self.group, name, number)

    def _variable(self, line: str, number: int) -> None:
        key, equals, _ = line.partition("=")
        if not equals:
            self.scan.wrong(number, f"`{line.split()[0]}` has no value; [{self.group}:vars] takes key=value lines")
            return
        self.scan.add_group_var(self.group, key.strip(), number)


_RANGE_OR_NAME = re.compile(r"[\[\]]")
