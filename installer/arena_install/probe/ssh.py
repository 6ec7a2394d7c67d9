"""How each host is reached: Ansible's variables in, plain settings out, so that the probe goes the way Ansible goes.

What the variables, `~/.ssh/config`, `-F` files and `-o` options mean together is asked of OpenSSH itself (`ssh -G`
prints the outcome and connects to nothing): a parser of our own would differ from what Ansible's ssh does a moment
later. Jump hosts become the `ssh -W` command that OpenSSH itself would run for them.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from arena_install.errors import ConfigError
from arena_install.inventory.cluster import Cluster, Host

_ENV_LOOKUP = re.compile(r"""^\{\{\s*lookup\(\s*['"](?:ansible\.builtin\.)?env['"]\s*,\s*['"](\w+)['"]\s*\)\s*\}\}$""")


@dataclass(frozen=True)
class Route:
    """Everything the child needs to reach one host. Holds passwords: never logged, sent over a pipe only."""

    name: str
    local: bool = False
    hostname: str = ""
    port: int = 22
    user: str = ""
    password: str = field(default="", repr=False)
    key: str = ""  # the key file the inventory names
    key_passphrase: str = field(default="", repr=False)
    identities: tuple[str, ...] = ()  # further key files, those that exist
    agent: str = ""  # socket of the agent; "" for none
    known_hosts: tuple[str, ...] = ()
    host_key_alias: str = ""
    strict: bool = True  # False: the user switched host key checking off
    accept_new: bool = False
    proxy_command: str = ""  # expanded; run by sh
    jump: str = ""  # the jump host, for people
    args: tuple[str, ...] = ()  # the user's own ssh arguments, for people
    connect_timeout: float | None = None
    become: bool = True  # use sudo where the login is not root
    sudo: str = "sudo"
    sudo_password: str = field(default="", repr=False)
    source: str = ""

    def as_request(self) -> dict[str, Any]:
        return asdict(self)

    def fields(self, timeout: float) -> dict[str, Any]:
        """What probe.unreachable puts into its texts; free of secrets."""
        return {
            "name": self.name,
            "address": self.hostname,
            "port": self.port,
            "user": self.user,
            "key": self.key,
            "known_hosts": self.known_hosts[0] if self.known_hosts else "",
            "entry": self.host_key_alias,
            "source": self.source,
            "jump": self.jump,
            "args": list(self.args),
            "timeout": timeout,
            "local": self.local,
        }


def routes(cluster: Cluster) -> dict[str, Route | ConfigError]:
    """One Route a host, or the ConfigError that says why its settings can't be used. Runs `ssh -G` once a host."""

    def of(host: Host) -> Route | ConfigError:
        try:
            return route(host, cluster.inventory)
        except ConfigError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        return dict(zip((host.name for host in cluster.hosts), pool.map(of, cluster.hosts), strict=True))


def route(host: Host, inventory: Path | None) -> Route:
    """Raises ConfigError for a connection type, become method or variable that can't be used."""
    pick = _Picker(host, inventory)
    connection = pick.text("ansible_connection", default="ssh")
    method = pick.text("ansible_become_method", default="sudo")
    become = pick.flag("ansible_become", default=True)
    if become and method.rpartition(".")[2] != "sudo":
        raise ConfigError(f"ansible_become_method={method} is not supported, only sudo is", where=str(host.source))
    common: dict[str, Any] = {
        "name": host.name,
        "become": become,
        "sudo": pick.program("ansible_become_exe", "ansible_sudo_exe", default="sudo"),
        "sudo_password": pick.text("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
        "source": str(host.source) if host.source.path else "",
    }
    if connection.rpartition(".")[2] == "local":
        return Route(local=True, hostname="localhost", user=getpass.getuser(), **common)
    if connection.rpartition(".")[2] not in ("ssh", "smart", "paramiko", "paramiko_ssh"):
        raise ConfigError(
            f"ansible_connection={connection} is not supported, only ssh and local are", where=str(host.source)
        )
    return _over_ssh(host, pick, common)


def _over_ssh(host: Host, pick: _Picker, common: dict[str, Any]) -> Route:
    # The order is Ansible's: what comes first on ssh's command line wins.
    arguments: list[str] = pick.arguments("ansible_ssh_args")
    if not pick.flag("ansible_ssh_host_key_checking", "ansible_host_key_checking", default=True):
        arguments += ["-o", "StrictHostKeyChecking=no"]
    if port := pick.text("ansible_port", "ansible_ssh_port"):
        arguments += ["-o", f"Port={port}"]
    key = pick.path("ansible_ssh_private_key_file", "ansible_private_key_file")
    if key:
        arguments += ["-o", f'IdentityFile="{key}"']
    if user := pick.text("ansible_user", "ansible_ssh_user"):
        arguments += ["-o", f"User={user}"]
    own = pick.arguments("ansible_ssh_common_args") + pick.arguments("ansible_ssh_extra_args")
    arguments += own
    settings = _ask_ssh(arguments, host)

    def one(name: str, default: str = "") -> str:
        value = settings.get(name, [default])[0]
        return default if value == "none" else value

    hostname, user = one("hostname", host.address), one("user") or getpass.getuser()
    tokens = {
        "h": hostname,
        "n": host.address,
        "p": one("port", "22"),
        "r": user,
        "u": getpass.getuser(),
        "d": str(Path.home()),
        "k": one("hostkeyalias", host.address),
        "i": str(os.getuid()),
        "%": "%",
    }
    jump = one("proxyjump")
    proxy = (
        _jump_command(jump, arguments, hostname, one("port", "22")) if jump else _expand(one("proxycommand"), tokens)
    )
    strict = one("stricthostkeychecking", "ask").lower()
    return Route(
        hostname=hostname,
        port=int(one("port", "22")),
        user=user,
        password=pick.text("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        key=key,
        key_passphrase=pick.text("ansible_ssh_private_key_passphrase", "ansible_private_key_passphrase"),
        identities=tuple(
            path
            for name in settings.get("identityfile", ())
            if (path := _home(_expand(name, tokens))) != key and Path(path).is_file()
        ),
        agent=_agent(settings.get("identityagent", ["SSH_AUTH_SOCK"])[0], one("identitiesonly"), tokens),
        known_hosts=_files(settings, tokens),
        host_key_alias=one("hostkeyalias"),
        strict=strict not in ("no", "off", "false"),
        accept_new=strict == "accept-new",
        proxy_command=proxy,
        jump=jump or ("a ProxyCommand" if proxy else ""),
        args=tuple(own),
        connect_timeout=float(one("connecttimeout")) if one("connecttimeout").isdecimal() else None,
        **common,
    )


class _Picker:
    """Reads a host's variables, and says which one is unusable and why."""

    def __init__(self, host: Host, inventory: Path | None) -> None:
        self._host, self._base = host, inventory.parent if inventory else Path.cwd()

    def text(self, *names: str, default: str = "") -> str:
        for name in names:
            value = self._host.vars.get(name)
            if value is None:
                continue
            if isinstance(value, Mapping):
                raise self._bad(
                    f"{name} is encrypted by ansible-vault and could not be decrypted",
                    "give the vault's password: export ANSIBLE_VAULT_PASSWORD_FILE=...",
                )
            text = str(value)
            if "{{" in text or "{%" in text:
                return self._template(name, text)
            return text
        return default

    def program(self, *names: str, default: str) -> str:
        """A name or path that can stand in a command without quotes."""
        text = self.text(*names, default=default)
        if not re.fullmatch(r"[\w./+-]+", text):
            raise self._bad(
                f"{names[0]}={text} is not the path of a program", "give a plain path, such as /usr/bin/sudo"
            )
        return text

    def flag(self, *names: str, default: bool) -> bool:
        text = self.text(*names).strip().lower()
        return text in ("1", "true", "yes", "on", "y", "t") if text else default

    def arguments(self, name: str) -> list[str]:
        try:
            return shlex.split(self.text(name))
        except ValueError as error:
            raise self._bad(f"{name} can't be split into arguments: {error}", "close the quotes") from error

    def path(self, *names: str) -> str:
        """Absolute; relative to the inventory's folder, as Ansible's own look-up of files is."""
        text = self.text(*names)
        return str(self._base.absolute() / Path(text).expanduser()) if text else ""

    def _template(self, name: str, text: str) -> str:
        if (match := _ENV_LOOKUP.match(text)) is None:
            raise self._bad(
                f"{name} is a template that only Ansible can resolve: {text}",
                "write the value, or {{ lookup('env', 'NAME') }}",
            )
        if (value := os.environ.get(match[1])) is None:
            raise self._bad(
                f"{name} is taken from the environment, and {match[1]} is not set", f"export {match[1]}=..."
            )
        return value

    def _bad(self, what: str, fix: str) -> ConfigError:
        return ConfigError(what, where=str(self._host.source), fix=fix)


def _ask_ssh(arguments: Sequence[str], host: Host) -> dict[str, list[str]]:
    """What `ssh -G` says: keyword in lower case -> its values in order."""
    try:
        done = subprocess.run(
            ["ssh", "-G", *arguments, "--", host.address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            errors="replace",
        )
    except FileNotFoundError:
        raise ConfigError(
            "ssh is not installed on this machine",
            why="Ansible and the probe both need OpenSSH's client",
            fix="apt-get install openssh-client",
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            "ssh -G did not end in 20 s",
            where=str(host.source),
            fix="look for a slow `Match exec` in your ssh configuration",
        ) from None
    if done.returncode != 0:
        noise = "Pseudo-terminal will not be allocated"
        why = "\n".join(line for line in done.stderr.splitlines() if noise not in line)
        raise ConfigError("ssh refuses the connection settings: " + " ".join(why.split()), where=str(host.source))
    settings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key.lower(), []).append(value)
    return settings


def _jump_command(jump: str, arguments: Sequence[str], hostname: str, port: str) -> str:
    """The command that OpenSSH runs for ProxyJump: the last hop forwards to the host, the others come before it.

    Options given on the command line are for the host and not for its jump hosts, except the configuration file.
    """
    *before, last = [hop.removeprefix("ssh://") for hop in jump.split(",")]
    user, _, endpoint = last.rpartition("@")
    match = re.match(r"^(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:]+|[^:]+:[^:]+:.*?))(?::(?P<port>\d+))?$", endpoint)
    if match is None:
        raise ConfigError(f"ProxyJump={jump} can't be understood")
    command = ["ssh", "-o", "BatchMode=yes", *_config_file(arguments)]
    command += ["-l", user] if user else []
    command += ["-p", match["port"]] if match["port"] else []
    command += ["-J", ",".join(before)] if before else []
    return shlex.join([*command, "-W", f"[{hostname}]:{port}", "--", match["v6"] or match["host"]])


def _config_file(arguments: Sequence[str]) -> list[str]:
    for index, argument in enumerate(arguments):
        if argument.startswith("-F"):
            name = argument[2:] or "".join(arguments[index + 1 : index + 2])
            return ["-F", name]
    return []


def _files(settings: Mapping[str, Sequence[str]], tokens: Mapping[str, str]) -> tuple[str, ...]:
    """known_hosts files; ssh prints the names side by side, so one with a space in it is told by its existence."""
    names: list[str] = []
    for keyword in ("userknownhostsfile", "globalknownhostsfile"):
        for value in settings.get(keyword, ()):
            whole = _home(_expand(value, tokens))
            names += [whole] if Path(whole).exists() else [_home(_expand(part, tokens)) for part in value.split()]
    return tuple(dict.fromkeys(name for name in names if name != "none"))


def _agent(agent: str, only: str, tokens: Mapping[str, str]) -> str:
    if agent == "none" or only.lower() in ("yes", "true"):
        return ""
    if agent == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK", "")
    return os.environ.get(agent[1:], "") if agent.startswith("$") else _home(_expand(agent, tokens))


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: tokens.get(match[1], match[0]), text)


def _home(path: str) -> str:
    return str(Path(path.strip('"')).expanduser())


def secrets_of(all_routes: Iterable[Route]) -> set[str]:
    """Every password among the settings, so that nothing that came back can carry one into a report."""
    return {
        text for route in all_routes for text in (route.password, route.sudo_password, route.key_passphrase) if text
    }
