"""Flags as data: one row each, so that the command, its help and the table of what upstream has come from one place.

Go's conventions hold, since people bring their scripts along: `--flag=value`, `--switch=false`, `-e K=V` and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from arena_install.errors import ConfigError
from arena_install.suggest import did_you_mean

Sort = Literal["text", "switch", "number", "time", "list", "commas"]
Default = str | int | bool | tuple[str, ...]
_EMPTY: Mapping[Sort, Default] = {"text": "", "switch": False, "number": 0, "time": "0", "list": (), "commas": ()}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Flag:
    """sort: text, switch, number, time (Go's durations), list (given again and again), commas (again, or with commas).
    old: names from before, still taken, with a note. refused: why this flag of upstream's can't be had here; using it
    is an error. better: how it does more than upstream's. ours: upstream has no such flag."""

    name: str
    sort: Sort
    help: str
    default: Default | None = None
    short: str = ""
    old: tuple[str, ...] = ()
    required: bool = False
    choices: tuple[str, ...] = ()
    refused: str = ""
    better: str = ""
    ours: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def value(self) -> Default:
        return _EMPTY[self.sort] if self.default is None else self.default

    @property
    def spellings(self) -> tuple[str, ...]:
        return (f"--{self.name}", *((f"-{self.short}",) if self.short else ()), *(f"--{name}" for name in self.old))


class Given:
    """What was typed, by the flag's name; defaults where nothing was."""

    def __init__(self, values: Mapping[str, Any], typed: Iterable[str] = (), words: Iterable[str] = ()) -> None:
        """values: by flag name. typed: flags that were on the command line. words: what stood there without a flag."""
        self._values, self._typed, self.words = dict(values), frozenset(typed), tuple(words)

    @classmethod
    def of(cls, flags: Iterable[Flag], /, *words: str, **values: Any) -> Given:
        """As if typed, for those who call from Python; keys with underscores."""
        rows = {flag.key: flag for flag in flags}
        unknown = set(values) - set(rows)
        if unknown:
            raise KeyError(", ".join(sorted(unknown)))
        typed = [rows[key].name for key in values]
        return cls({flag.name: values.get(key, flag.value) for key, flag in rows.items()}, typed, words)

    def text(self, name: str) -> str:
        return str(self._values[name] or "")

    def number(self, name: str) -> int:
        return int(self._values[name])

    def on(self, name: str) -> bool:
        return bool(self._values[name])

    def many(self, name: str) -> tuple[str, ...]:
        return tuple(self._values[name] or ())

    def seconds(self, name: str) -> int:
        return duration(f"--{name}", self.text(name))

    def typed(self, name: str) -> bool:
        return name in self._typed

    def has(self, name: str) -> bool:
        return name in self._values

    def filled(self, flags: Iterable[Flag]) -> Given:
        """With the defaults of flags that this command does not have."""
        defaults = {flag.name: flag.value for flag in flags}
        return Given({**defaults, **self._values}, self._typed, self.words)

    def as_dict(self) -> dict[str, Any]:
        """What is not empty."""
        return {
            key: list(v) if isinstance(v, tuple) else v for key, v in self._values.items() if v not in ("", (), None)
        }


def duration(flag: str, text: str) -> int:
    """Whole seconds of a Go duration ("1h30m", "90s", "0"), rounded up. Raises ConfigError."""
    text = text.strip()
    if text in ("", "0"):
        return 0
    rest = _DURATION.sub("", text)
    if rest:
        guess = f"{text}s" if text.isdigit() else "90s, 10m, 1h30m or 24h"
        raise ConfigError(f"{flag}: {text!r} is not a duration", why="it needs a unit: s, m or h", fix=f"write {guess}")
    total = sum(float(count) * _SECONDS[unit] for count, unit in _DURATION.findall(text))
    return int(-(-total // 1))


def check_choices(flags: Iterable[Flag], given: Given) -> None:
    """Raises ConfigError where a flag with a fixed set of values has another."""
    for flag in flags:
        if flag.choices and (text := given.text(flag.name)) and text not in flag.choices:
            raise ConfigError(f"--{flag.name}: {text!r} is not known", fix=did_you_mean(text, flag.choices))


def only(flags: Iterable[Flag], *names: str) -> tuple[Flag, ...]:
    """The rows of these names, in the order of the rows."""
    return tuple(flag for flag in flags if flag.name in names)


def without(flags: Iterable[Flag], *names: str) -> tuple[Flag, ...]:
    return tuple(flag for flag in flags if flag.name not in names)
