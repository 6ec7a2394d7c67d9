"""The words for every way in which a host can fail to be looked at.

The child names a kind and what it saw; here that becomes what, where, why and the next command. One table, so that two
failures never read the same and none is without a fix.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from arena_install.probe.facts import Unreachable, UnreachableKind


@dataclass(frozen=True)
class _Text:
    what: str
    why: str
    fix: str


# Fields: {address} {port} {user} {key} {known_hosts} {entry} {timeout} {ssh} (the ssh command a person would type)
# {source} (where the host stands in the inventory) {detail} (what was seen; may be empty).
_TEXTS: dict[UnreachableKind, _Text] = {
    "refused": _Text(
        "the SSH connection was refused",
        "nothing listens on {address} port {port}{detail}",
        "check that sshd runs there, or set ansible_port ({source}): {ssh}",
    ),
    "timeout": _Text(
        "the host did not answer in {timeout:g} s",
        "no reply from {address} port {port}{detail}: it is down, or a firewall drops the packets",
        "check the address ({source}) and the network: {ssh}",
    ),
    "slow": _Text(
        "the host's answer did not come in {timeout:g} s",
        "the connection was made, and then it took too long{detail}: the host is overloaded, or a disk of it hangs",
        "look at its load and for processes in state D: {ssh}",
    ),
    "no_route": _Text(
        "there is no route to the host",
        "{address} can't be reached from here{detail}",
        "check the address ({source}), or give a jump host: ansible_ssh_common_args='-o ProxyJump=...'",
    ),
    "dns": _Text(
        "the host's name is unknown",
        "{address} can't be resolved{detail}",
        "correct the name, or give an address: ansible_host=... ({source})",
    ),
    "not_ssh": _Text(
        "what answers is not an SSH server",
        "{address} port {port} sent no SSH banner{detail}",
        "check ansible_port ({source}): {ssh}",
    ),
    "closed": _Text(
        "the SSH server closed the connection",
        "{address} port {port} hung up before the login was done{detail}",
        "look at sshd's log there (MaxStartups, fail2ban, AllowUsers): {ssh}",
    ),
    "host_key_unknown": _Text(
        "the SSH host key is not known",
        "no key for {entry} in {known_hosts}{detail}",
        "compare the fingerprint with the host's console, then connect once to record it: {ssh}",
    ),
    "host_key_changed": _Text(
        "the SSH host key has changed",
        "the key that {known_hosts} holds for {entry} is not the one the server shows{detail}: "
        "the host was set up anew, or someone is in between",
        "if the host was set up anew: ssh-keygen -R {entry_quoted} -f {known_hosts_quoted}",
    ),
    "auth": _Text(
        "the SSH login was refused",
        "the server accepts none of the keys or passwords offered for user {user}{detail}",
        "put your public key into ~{user}/.ssh/authorized_keys there, or set ansible_user and "
        "ansible_ssh_private_key_file ({source}): {ssh}",
    ),
    "key_missing": _Text(
        "the SSH key file does not exist",
        "{key} is not there{detail}",
        "correct ansible_ssh_private_key_file ({source})",
    ),
    "key_unreadable": _Text(
        "the SSH key file can't be read",
        "{key}{detail}",
        "make it readable for you alone: chmod 600 {key_quoted}",
    ),
    "key_unprotected": _Text(
        "the SSH key file is open to others",
        "{key} has mode {detail}; ssh refuses to use such a key",
        "chmod 600 {key_quoted}",
    ),
    "key_encrypted": _Text(
        "the SSH key is encrypted",
        "{key} needs a passphrase{detail}",
        "load it into an agent: ssh-add {key_quoted}",
    ),
    "key_invalid": _Text(
        "the SSH key file holds no usable private key",
        "{key}{detail}",
        "name the private key, not the .pub file, in ansible_ssh_private_key_file ({source})",
    ),
    "jump": _Text(
        "the jump host could not be passed",
        "the way to {address} port {port} failed at the jump host{detail}",
        "try it by hand: {ssh}",
    ),
    "sudo_password_needed": _Text(
        "sudo needs a password",
        "user {user} may not use sudo without one, and none was given{detail}",
        "set ansible_become_password, e.g. from a vault or the environment: "
        "ansible_become_password=\"{{{{ lookup('env', 'SUDO_PASSWORD') }}}}\" ({source})",
    ),
    "sudo_password_wrong": _Text(
        "the sudo password is wrong",
        "sudo did not accept ansible_become_password for user {user}{detail}",
        "correct ansible_become_password ({source})",
    ),
    "sudo_denied": _Text(
        "sudo is not permitted",
        "user {user} may not become root{detail}",
        "give the user sudo rights there (as root: usermod -aG sudo {user}), or log in as root",
    ),
    "sudo_missing": _Text(
        "sudo is not installed",
        "user {user} is not root, and the host has no sudo{detail}",
        "install it there (as root: apt-get install sudo), or log in as root: ansible_user=root ({source})",
    ),
    "no_shell": _Text(
        "no shell answers on the host",
        "the login works, but sh does not run{detail}",
        "give user {user} an ordinary login shell (chsh -s /bin/sh {user}), without a forced command",
    ),
    "truncated": _Text(
        "the host's answer was cut off",
        "the connection ended before the last line of the answer{detail}",
        "run it again; if it stays so, look at the host's memory and at sshd's log",
    ),
    "settings": _Text(
        "the connection settings can't be used",
        "{detail}",
        "correct them ({source})",
    ),
    "other": _Text(
        "the host could not be looked at",
        "{detail}",
        "try it by hand: {ssh}",
    ),
}

assert set(_TEXTS) == set(get_args(UnreachableKind))


def unreachable(kind: UnreachableKind, detail: str, fields: Mapping[str, Any]) -> Unreachable:
    """Put one failure into words.

    detail: what was seen, "" if nothing beyond the kind. fields: name, address, port, user (all as connected to), and
    where known key, known_hosts, entry (the name looked up there), source, jump (bool), args (list), timeout.
    """
    text = _TEXTS[kind]
    port, address, user = fields.get("port", 22), fields.get("address", ""), fields.get("user") or "unknown"
    entry = fields.get("entry") or (address if port == 22 else f"[{address}]:{port}")
    known_hosts, key = fields.get("known_hosts") or "~/.ssh/known_hosts", fields.get("key") or "the key"
    words = {
        "address": address,
        "port": port,
        "user": user,
        "key": key,
        "key_quoted": shlex.quote(key),
        "known_hosts": known_hosts,
        "known_hosts_quoted": shlex.quote(known_hosts),
        "entry": entry,
        "entry_quoted": shlex.quote(entry),
        "source": fields.get("source") or "the inventory",
        "timeout": float(fields.get("timeout") or 0),
        "ssh": _ssh_command(address, port, user, fields),
    }
    plain = text.why in ("{detail}",) or kind == "key_unprotected"
    words["detail"] = detail if plain else (f" ({detail})" if detail else "")
    where = f"host {fields.get('name', address)} ({_endpoint(address, port, fields)}, user {user})"
    if fields.get("local"):
        where = f"host {fields.get('name', '')} (this machine)"
    return Unreachable(kind, text.what.format(**words), where, text.why.format(**words), text.fix.format(**words))


def _endpoint(address: str, port: int, fields: Mapping[str, Any]) -> str:
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{shown} through {fields['jump']}" if fields.get("jump") else shown


def _ssh_command(address: str, port: int, user: str, fields: Mapping[str, Any]) -> str:
    words = ["ssh", *fields.get("args", ())]
    if port != 22:
        words += ["-p", str(port)]
    if fields.get("key"):
        words += ["-i", str(fields["key"])]
    if user != "unknown":
        words += ["-l", user]
    return shlex.join([*words, address])
