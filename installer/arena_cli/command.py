"""Makes click commands of rows of flags, and loads a verb's module only when that verb is asked for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from arena_cli.flags import Flag, Given, check_choices
from arena_install.errors import ArenaError, ConfigError
from arena_install.suggest import closest

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
_TRUE, _FALSE = ("1", "t", "true", "yes"), ("0", "f", "false", "no")

#: Taken by every command, before the verb or after it.
GLOBAL = (
    Flag("namespace", "text", "Namespace of the jobs (default: of arena's config, of the kubeconfig).", short="n"),
    Flag(
        "config",
        "text",
        "The kubeconfig (default: $KUBECONFIG, ~/.kube/config, the pod's own account).",
        better="$KUBECONFIG may name several files",
    ),
    Flag("arena-namespace", "text", "Namespace of the operators.", "arena-system"),
    Flag(
        "loglevel",
        "text",
        "What is told on the way; debug shows each request.",
        "info",
        choices=("debug", "info", "warn", "error"),
    ),
    Flag("helm-binary", "switch", "Render with Helm's own program; that is what always happens."),
    Flag("pprof", "switch", "", refused="it profiles a Go program, which this is not"),
    Flag("trace", "switch", "", refused="it traces a Go program, which this is not"),
)


@dataclass(frozen=True)
class Verb:
    """One command. run: gets what was typed. words: what may stand without a flag, such as "JOB" or "[NODE]..."."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    run: Callable[[Given], None]
    words: str = ""
    aliases: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] | None = None  # flag -> the command that has it


class Command(click.Command):
    """A verb's command. Switches take `=false`, names of before are noted, and an unknown flag gets a suggestion."""

    def __init__(self, verb: Verb, path: str) -> None:
        self.verb, self.path = verb, path
        self.rows = (*verb.flags, *GLOBAL)
        params: list[click.Parameter] = [_option(flag) for flag in self.rows]
        params.append(click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar=verb.words or " "))
        super().__init__(verb.name, params=params, callback=self._run, help=verb.help, context_settings=CONTEXT)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own first; those of every command last."""
        everywhere = {flag.key for flag in GLOBAL}
        for title, common in (("Options", False), ("Of every command", True)):
            options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
            params = [param for param in options if (param.name in everywhere) == common]
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rows = {spelling: flag for flag in self.rows for spelling in flag.spellings}
        typed: list[str] = []
        ctx.meta["typed"] = typed
        return super().parse_args(ctx, list(self._words_of(ctx, args, rows, typed)))

    def _words_of(
        self, ctx: click.Context, args: Sequence[str], rows: Mapping[str, Flag], typed: list[str]
    ) -> Iterable[str]:
        skip = False  # the word is the value of the flag before it
        for place, word in enumerate(args):
            if word == "--":
                yield from args[place:]
                return
            name, equals, value = word.partition("=")
            flag = None if skip else rows.get(name) or (rows.get(word[:2]) if not word.startswith("--") else None)
            skip = False
            if flag is None or not word.startswith("-"):
                yield word
                continue
            typed.append(flag.name)
            if flag.refused and not ctx.resilient_parsing:
                raise ConfigError(f"--{flag.name} can't be had here", why=flag.refused)
            if name.removeprefix("--") in flag.old:
                print(f"note: {name} is the old name of --{flag.name}", file=sys.stderr)
            if flag.sort == "switch" and equals:
                if value.lower() not in (*_TRUE, *_FALSE):
                    raise ConfigError(f"{name} is a switch", why=f"{value!r} is neither true nor false")
                yield f"--{flag.name}" if value.lower() in _TRUE else f"--no-{flag.name}"
                continue
            skip = flag.sort != "switch" and not equals and word in rows
            yield word

    def _run(self, words: tuple[str, ...], **values: Any) -> None:
        ctx = click.get_current_context()
        given = {flag.name: values[flag.key] for flag in self.rows}
        typed = [*ctx.meta["typed"]]
        for name, value in (ctx.obj or {}).items():  # typed before the verb
            if name not in typed:
                given[name] = value
                typed.append(name)
        missing = [flag for flag in self.verb.flags if flag.required and not given[flag.name]]
        if missing:
            raise ConfigError(f"--{missing[0].name} is missing", why=missing[0].help, fix=f"arena {self.path} --help")
        if words and not self.verb.words:
            raise ConfigError(f"{words[0]!r} is one word too many", fix=f"arena {self.path} --help")
        asked = Given(given, typed, words)
        check_choices(self.rows, asked)
        self.verb.run(asked)


def _option(flag: Flag) -> click.Option:
    names, text, hidden = [flag.key, *flag.spellings], flag.help, bool(flag.refused)
    if flag.sort == "switch":
        first, *others = flag.spellings
        names = [flag.key, f"{first}/--no-{flag.name}", *others]
        text = f"{text}  [default: true]" if flag.value else text
        return _Option(names, default=bool(flag.value), help=text, hidden=hidden, is_flag=True)
    if flag.choices:
        text = f"{text} [{'|'.join(flag.choices)}]"
    if flag.sort in ("list", "commas"):
        return _Option(names, multiple=True, default=flag.value, help=text, hidden=hidden, metavar="TEXT...")
    kind: Any = click.INT if flag.sort == "number" else click.STRING
    metavar = {"time": "DURATION", "number": "N"}.get(flag.sort)
    shown = flag.value not in ("", 0, "0")
    return _Option(names, type=kind, default=flag.value, help=text, show_default=shown, hidden=hidden, metavar=metavar)


class _Option(click.Option):
    """In help it has the one name that people are to know: no old ones, and no `--no-` form, which is how `=false`
    comes in. TEXT... means: again for more."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        long = next(name for name in self.opts if name.startswith("--"))
        short = next((name for name in self.opts if len(name) == 2), "")
        value = "" if self.is_flag else f" {self.make_metavar(ctx)}"
        return (f"{short}, {long}{value}" if short else f"{long}{value}"), record[1]


class Group(click.Group):
    """Verbs by name, each in a module of its own that is imported only when it is asked for.

    members: name -> ("module:attribute", one line of help); the attribute is a Verb or a Group.
    """

    def __init__(
        self, name: str, help: str, members: Mapping[str, tuple[str, str]], aliases: Mapping[str, str], path: str = ""
    ) -> None:
        options: list[click.Parameter] = [_option(flag) for flag in GLOBAL]
        super().__init__(
            name, help=help, params=options, callback=self._globals, context_settings=CONTEXT, no_args_is_help=True
        )
        self.members, self.aliases, self.path = members, aliases, path

    def _globals(self, **values: Any) -> None:
        ctx = click.get_current_context()
        ctx.obj = dict(ctx.obj or {})
        for flag in GLOBAL:
            if ctx.get_parameter_source(flag.key) == click.core.ParameterSource.COMMANDLINE:
                if flag.refused:
                    raise ConfigError(f"--{flag.name} can't be had here", why=flag.refused)
                ctx.obj[flag.name] = values[flag.key]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.members)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        name = self.aliases.get(name, name)
        if name not in self.members:
            return None
        found = load(self.members[name][0])
        path = f"{self.path} {name}".strip()
        return Command(found, path) if isinstance(found, Verb) else found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            guess = closest(name, [*self.members, *self.aliases])
            known = "known here: " + ", ".join(self.members)
            raise ConfigError(
                f"arena {f'{self.path} ' if self.path else ''}has no {name!r}",
                fix=f"did you mean `{f'arena {self.path}'.strip()} {guess}`?" if guess else known,
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        others: dict[str, list[str]] = {}
        for alias, name in self.aliases.items():
            others.setdefault(name, []).append(alias)
        rows = [(", ".join([name, *others.get(name, ())]), text) for name, (_, text) in self.members.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def unknown_option(error: click.NoSuchOption) -> ArenaError:
    """Click's error in our words: the flag that was meant, or the command that has it."""
    ctx = error.ctx
    command = ctx.command if ctx else None
    name = error.option_name
    if isinstance(command, Command):
        known = [spelling for flag in command.rows if not flag.refused for spelling in flag.spellings]
        other = (command.verb.elsewhere or {}).get(name.lstrip("-"))
        guess = closest(name, known, 0.7)
        if other:
            fix = f"it is a flag of `arena {other}`"
        else:
            fix = f"did you mean `{guess}`?" if guess else f"arena {command.path} --help lists them"
        if command.verb.words:
            fix += "\na flag of your own command? put the command in quotes, or after ` -- `"
        return ConfigError(f"arena {command.path} has no flag {name}", fix=fix)
    return ConfigError(f"arena has no flag {name}", fix="arena --help lists them")


def command_line(words: Sequence[str]) -> str:
    """One word is a line for the shell as it is; several are the words of a command, quoted where a blank or a quote
    in one would otherwise split it (upstream joins them bare)."""
    if len(words) == 1:
        return words[0]
    return " ".join(shlex.quote(word) if any(c in word for c in " \t\n'\"\\") or not word else word for word in words)
