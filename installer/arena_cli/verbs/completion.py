"""`arena completion SHELL`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Given


def _run(given: Given) -> None:
    from click.shell_completion import get_completion_class

    from arena_cli.main import app
    from arena_install.errors import ConfigError

    shell = given.words[0] if given.words else ""
    found = get_completion_class(shell)
    if found is None or len(given.words) != 1:
        raise ConfigError(
            f"{shell!r} is no shell that is known here" if shell else "which shell?",
            fix='echo "source <(arena completion bash)" >> ~/.bashrc  # or zsh, fish',
        )
    print(found(app, {}, "arena", "_ARENA_COMPLETE").source())


verb = Verb("completion", "Print what bash, zsh or fish needs to complete arena's commands.", (), _run, "SHELL")
