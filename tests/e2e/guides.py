"""The pages of docs/guides as programs: files, commands in order, what each must print, and the page anew from a run.

A block is a file where its first line is ```LANGUAGE file=NAME, and commands where it is ```console:

    ```console until=SUCCEEDED
    $ arena get mnist
    what it printed
    ```

until=TEXT, once or more: the block's last command is run again until its output has the text. fails: it must exit with
another status than 0. Everything that a command prints is compared with the page, but for what no two runs have in
common (`plain`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGES = sorted(path for path in (Path(__file__).parents[2] / "docs/guides").glob("*.md") if path.stem != "README")

_FENCE = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of the endings that Kubernetes gives to names
_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "TIME"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b"), "ADDRESS"),
    (re.compile(r"\bGPU-[0-9a-f-]*"), "GPU"),
    (re.compile(rf"-[{_LETTERS}]{{8,10}}-[{_LETTERS}]{{5}}\b"), "-ID-ID"),
    (re.compile(rf"-[{_LETTERS}]{{5}}\b"), "-ID"),
    (re.compile(r"\b[0-9a-f]{7,40}\b(?=\s)"), "COMMIT"),
    (re.compile(r"\b(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?s)\b|\b\d+m\b"), "AGE"),
    (re.compile(r"\d+\.\d+(e-?\d+)?%?"), "NUMBER"),
    (re.compile(r"\blab-(cp|w)\d\b"), "NODE"),
    (re.compile(r":3\d{4}/TCP"), ":PORT/TCP"),
    (re.compile(r"-{3,}|={3,}"), "---"),
    (re.compile(r"\bgang: \d+ of"), "gang: SOME of"),  # others have GPUs too
    (re.compile(r"[ \t]+"), " "),
)


@dataclass
class Command:
    """until, fails: of the block, for its last command. start, end: where its output stands in the page."""

    line: str
    output: str
    start: int
    end: int
    until: tuple[str, ...] = ()
    fails: bool = False


@dataclass(frozen=True)
class FileBlock:
    name: str
    content: str


@dataclass
class Page:
    path: Path
    text: str
    parts: list[Command | FileBlock] = field(default_factory=list)

    def commands(self) -> Iterator[Command]:
        return (part for part in self.parts if isinstance(part, Command))

    def with_outputs(self, outputs: Sequence[str]) -> str:
        """The page's text with these outputs, one for each command."""
        text = self.text
        rows = list(zip(self.commands(), outputs, strict=True))
        for command, output in reversed(rows):
            text = text[: command.start] + output + text[command.end :]
        return text


def read(path: Path) -> Page:
    """Raises ValueError for options that mean nothing."""
    page = Page(path, path.read_text("utf-8"))
    for match in _FENCE.finditer(page.text):
        options = list(_options(path, match["options"]))
        if named := dict(options).get("file"):
            page.parts.append(FileBlock(named, match["body"]))
        elif match["language"] == "console":
            found = list(_commands(match["body"], match.start("body")))
            found[-1].until = tuple(value for key, value in options if key == "until")
            found[-1].fails = ("fails", "") in options
            page.parts += found
    return page


def _options(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in ("file", "until", "fails"):
            raise ValueError(f"{path.name}: {word} is no option of a block")
        yield key, value


def _commands(body: str, at: int) -> Iterator[Command]:
    """`$ ` begins a command; what follows until the next is its output."""
    starts = [match.start() for match in re.finditer(r"^\$ ", body, re.MULTILINE)]
    for begin, end in zip(starts, [*starts[1:], len(body)], strict=True):
        line, newline, output = body[begin:end].partition("\n")
        first = begin + len(line) + len(newline)
        yield Command(line[2:], output, at + first, at + end)


def told(text: str, names: Mapping[str, str]) -> str:
    """Output as a page shows it. names: what this run's cluster and namespace are called -> what pages call them."""
    for name, shown in names.items():
        text = text.replace(name, shown)
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return "".join(f"{line}\n" for line in lines)


def plain(text: str) -> str:
    """Without what no two runs have in common: times, addresses, endings of names, figures with a point, widths."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return "\n".join(line.strip() for line in text.splitlines())
