"""Getting to a host by pyinfra's SSH connector: its data from a Route, and what its errors mean.

pyinfra would read ~/.ssh/config and add unknown host keys to known_hosts; neither is wanted here. The settings come
resolved (probe/ssh.py), and host keys are looked up in a private file made of the user's own.
"""

# gevent and pyinfra carry no types.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess

from arena_install.probe.exchange import Failure


@contextlib.contextmanager
def proxy(route: dict[str, Any]) -> Iterator[tuple[socket.socket | None, Callable[[], str]]]:
    """Run the proxy command; gives the socket to speak through, and what the command said on stderr so far."""
    if not route["proxy_command"]:
        yield None, lambda: ""
        return
    ours, theirs = socket.socketpair()
    process: Any = subprocess.Popen(
        ["/bin/sh", "-c", "exec " + route["proxy_command"]], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    )
    theirs.close()
    said = bytearray()

    def read() -> None:
        for line in process.stderr:
            said.extend(line[-1000:])

    reader = gevent.spawn(read)

    def words() -> str:
        reader.join(2)
        return said.decode(errors="replace").strip()[-400:]

    try:
        yield ours, words
    finally:
        ours.close()
        if process.poll() is None:
            process.terminate()
        process.wait()
        reader.kill()


@lru_cache
def known_keys(files: tuple[str, ...]) -> Any:
    """The usable lines of known_hosts files; marked ones (@revoked, @cert-authority) are not understood: left out."""
    from paramiko.hostkeys import HostKeyEntry, HostKeys

    keys: Any = HostKeys()
    for name in files:
        try:
            text = Path(name).read_text(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if line.strip() and line.lstrip()[0] not in "#@":
                with contextlib.suppress(Exception):  # one bad line must not hide the others
                    if entry := HostKeyEntry.from_line(line):
                        keys._entries.append(entry)
    return keys


def write_known_hosts(route: dict[str, Any], folder: Path) -> tuple[Path, list[str]]:
    """A private file with this host's keys under the name that is looked up, and their types.

    OpenSSH also takes an entry without the port, and looks under HostKeyAlias; paramiko knows neither.
    """
    hostname, port = route["hostname"], route["port"]
    plain = hostname if port == 22 else f"[{hostname}]:{port}"
    names = [route["host_key_alias"]] if route["host_key_alias"] else [plain, hostname]
    keys = known_keys(tuple(route["known_hosts"])) if route["strict"] or route["accept_new"] else None
    found: Any = next((entry for name in names if keys is not None and (entry := keys.lookup(name))), {})
    path = folder / f"{secrets.token_hex(8)}.known_hosts"
    lines = [f"{plain} {kind} {key.get_base64()}\n" for kind, key in found.items()]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)
    return path, list(found)


@lru_cache
def load_key(path: str, passphrase: str) -> Any:
    """The private key in a file, as Failure if it can't be used."""
    from pyinfra.api.exceptions import PyinfraError
    from pyinfra.connectors.ssh_util import load_key_with_certificate

    try:
        found = Path(path).stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            return Failure("key_unprotected", f"{stat.S_IMODE(found.st_mode):04o}")
        return load_key_with_certificate(path, passphrase or None, allow_prompt=False)
    except FileNotFoundError:
        return Failure("key_missing")
    except OSError as error:
        return Failure("key_unreadable", error.strerror or str(error))
    except PyinfraError as error:
        return Failure("key_encrypted" if "encrypted" in str(error) else "key_invalid")
    except (ValueError, binascii.Error) as error:
        return Failure("key_encrypted" if passphrase else "key_invalid", str(error))


def fingerprint(key: Any) -> str:
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


@dataclass
class Prepared:
    """A host of pyinfra's inventory. bad_key: its key file is of no use, but there is another way to log in."""

    host: Any
    bad_key: Failure | None


def prepare(routes: list[dict[str, Any]], folder: Path, timeout: float) -> dict[str, Prepared | Failure]:
    """pyinfra's inventory of these hosts (one for all: making one reads the whole list of installed packages)."""
    from pyinfra.api.config import Config
    from pyinfra.api.inventory import Inventory
    from pyinfra.api.state import State

    result: dict[str, Prepared | Failure] = {}
    data: dict[str, dict[str, Any]] = {}
    for index, route in enumerate(routes):
        try:
            data[str(index)], bad_key = _data(route, folder, timeout)
            result[route["name"]] = Prepared(str(index), bad_key)
        except Failure as failure:
            result[route["name"]] = failure
    inventory = Inventory((list(data.items()), {}))
    State(inventory, Config(CONNECT_TIMEOUT=timeout, PARALLEL=max(1, len(data))))
    for prepared in result.values():
        if isinstance(prepared, Prepared):
            prepared.host = inventory.get_host(prepared.host)
    return result


def _data(route: dict[str, Any], folder: Path, timeout: float) -> tuple[dict[str, Any], Failure | None]:
    import paramiko

    known, kinds = write_known_hosts(route, folder)
    limit = min(timeout, route["connect_timeout"] or timeout)
    connect: dict[str, Any] = {"timeout": limit}
    # The whole look is bounded by its caller; these must not end it earlier under another name.
    connect |= dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), timeout + 5)
    if kinds:
        # Ask the server for a key of a type that is known, else a server with several looks like another one.
        wanted = {
            name for kind in kinds for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))
        }
        transport: Any = paramiko.Transport
        connect["disabled_algorithms"] = {"keys": [name for name in transport._preferred_keys if name not in wanted]}
    bad_key = None
    if route["key"]:
        key = load_key(route["key"], route["key_passphrase"])
        if isinstance(key, Failure):
            bad_key = key
            if not route["agent"] and not route["password"]:
                raise key
        else:
            connect["pkey"] = key
    if route["identities"]:
        connect["key_filename"] = list(route["identities"])
    connect["allow_agent"] = bool(route["agent"])
    return {
        "ssh_hostname": route["hostname"],
        "ssh_port": route["port"],
        "ssh_user": route["user"],
        "ssh_password": route["password"],
        "ssh_allow_agent": bool(route["agent"]),
        "ssh_look_for_keys": False,
        "ssh_config_file": os.devnull,  # ssh -G has already said what it means
        "ssh_known_hosts_file": str(known),
        "ssh_strict_host_key_checking": "yes" if route["strict"] and not route["accept_new"] else "no",
        "ssh_paramiko_connect_kwargs": connect,
    }, bad_key


@contextlib.contextmanager
def connected(route: dict[str, Any], prepared: Prepared) -> Iterator[Any]:
    """Log in; gives paramiko's Transport. Raises Failure."""
    from pyinfra.api.exceptions import ConnectError

    host = prepared.host
    if route["agent"]:
        os.environ["SSH_AUTH_SOCK"] = route["agent"]
    with proxy(route) as (through, words):
        if through is not None:
            host.connector.data["ssh_paramiko_connect_kwargs"]["sock"] = through
        try:
            host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            failure = connect_failure(error.__context__ or error, host.connector.client, words)
            raise prepared.bad_key if prepared.bad_key and failure.kind == "auth" else failure from None
        try:
            yield host.connector.client.get_transport()
        finally:
            host.connector.client.close()


def connect_failure(error: Any, client: Any, words: Callable[[], str]) -> Failure:
    """What pyinfra's ConnectError was at its origin."""
    import paramiko

    seen = getattr(getattr(client, "_transport", None), "host_key", None)
    if isinstance(error, paramiko.BadHostKeyException):
        return Failure(
            "host_key_changed", f"it shows {fingerprint(error.key)}, known is {fingerprint(error.expected_key)}"
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return Failure("key_encrypted", str(error))
    if isinstance(error, paramiko.BadAuthenticationType):
        return Failure("auth", f"it allows {', '.join(error.allowed_types)}")
    if isinstance(error, paramiko.AuthenticationException):
        return Failure("timeout", "no answer to the login") if "timeout" in str(error).lower() else Failure("auth")
    text = str(error)
    if "found in known_hosts" in text:
        return Failure("host_key_unknown", f"it shows {fingerprint(seen)}" if seen else "")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return Failure("host_key_changed" if "host key" in text else "other", text)
    if said := words():
        return proxy_failure(said)
    if isinstance(error, socket.gaierror):
        return Failure("dns", error.strerror or text)
    if isinstance(error, TimeoutError):
        return Failure("timeout")
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        numbers = {getattr(inner, "errno", 0) for inner in error.errors.values()}
        return Failure("refused") if errno.ECONNREFUSED in numbers else Failure("no_route", os.strerror(numbers.pop()))
    if isinstance(error, (EOFError, ConnectionResetError)):
        return Failure("closed")
    if re.search(r"banner|Indecipherable protocol|Incompatible version", text):
        return Failure("not_ssh", "" if "banner" in text else text)
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Failure("no_route", error.strerror or text)
    if "no authentication methods available" in text.lower():
        return Failure("auth", "there is no key and no password to offer")
    return Failure("other", f"{type(error).__name__}: {text}")


def proxy_failure(said: str) -> Failure:
    """The jump host was passed and the host behind it failed, or the jump host itself failed."""
    if match := re.search(r"open failed: (?:connect failed|administratively prohibited): ([^\r\n]*)", said):
        for pattern, kind in (
            ("refused", "refused"),
            ("timed out", "timeout"),
            ("route|unreachable", "no_route"),
            ("resolve|not known|resolution", "dns"),
        ):
            if re.search(pattern, match[1]):
                return Failure(kind, f"seen from the jump host: {match[1]}")
    return Failure("jump", said)
