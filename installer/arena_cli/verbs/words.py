"""What stands on the command line without a flag."""

from __future__ import annotations

from arena_cli.flags import Given
from arena_install.errors import ConfigError


def one_word(given: Given, verb: str, what: str) -> str:
    if not given.words:
        raise ConfigError(f"arena {verb} needs the name of a job", fix=f"arena {verb} {what}; arena list shows them")
    if len(given.words) > 1:
        raise ConfigError(f"{given.words[1]!r} is one word too many", fix=f"arena {verb} {what}")
    return given.words[0]


def some_words(given: Given, verb: str, what: str) -> tuple[str, ...]:
    if not given.words:
        raise ConfigError(f"arena {verb} needs a name", fix=f"arena {verb} {what}")
    return given.words
