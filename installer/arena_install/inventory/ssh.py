"""What Ansible's connection and become variables mean, for those who reach a host without Ansible (the probe).

Each option has several spellings; Ansible takes the last one of its list that is set, whatever the order in the file,
so the order of each tuple below matters. Names and order: documentation of ansible-core 2.19's ssh connection and sudo
and su become plugins (`ansible-doc -t connection ssh`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

HOST = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
KEY_PASSPHRASE = ("ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase")
CONNECTION = ("ansible_connection",)
BECOME = ("ansible_become",)
BECOME_METHOD = ("ansible_become_method",)
BECOME_USER = ("ansible_become_user", "ansible_sudo_user", "ansible_su_user")
BECOME_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass")
HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
#: In the order in which Ansible puts them on ssh's command line; the first setting of an option wins there.
ARGS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
PYTHON = ("ansible_python_interpreter",)
NODE_IP = ("ip",)

#: Every variable of an inventory that we act on ourselves; templates and vault values in them are resolved by Ansible.
UNDERSTOOD = frozenset(
    (
        *HOST,
        *PORT,
        *USER,
        *PASSWORD,
        *KEY_FILE,
        *KEY_PASSPHRASE,
        *CONNECTION,
        *BECOME,
        *BECOME_METHOD,
        *BECOME_USER,
        *BECOME_PASSWORD,
        *HOST_KEY_CHECKING,
        *ARGS,
        *PYTHON,
        *NODE_IP,
    )
)
SECRETS = frozenset((*PASSWORD, *KEY_PASSPHRASE, *BECOME_PASSWORD))
#: Known to Ansible and passed through; listed so that a misspelling of an understood one can be told from them.
OTHER = frozenset(
    f"ansible_{name}"
    for name in (
        *("become_exe", "become_flags", "sudo_exe", "sudo_flags", "su_exe", "su_flags", "sudo_chdir"),
        *("control_path", "control_path_dir", "pipelining", "ssh_pipelining", "private_key", "ssh_private_key"),
        *("ssh_password_mechanism", "ssh_executable", "scp_executable", "sftp_executable", "scp_extra_args"),
        *("sftp_extra_args", "sftp_batch_mode", "ssh_retries", "ssh_timeout", "ssh_transfer_method", "ssh_use_tty"),
        *("ssh_verbosity", "ssh_pkcs11_provider", "sshpass_prompt", "timeout", "shell_type", "shell_executable"),
        *("remote_tmp", "async_dir", "admin_users", "common_remote_group", "system_tmpdirs", "facts_parallel"),
    )
)

_TRUE, _FALSE = {"yes", "true", "on", "1", "y", "t"}, {"no", "false", "off", "0", "n", "f"}


def pick(values: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    """(variable, value) that Ansible would use of these spellings, ("", None) if none is set."""
    for name in reversed(names):
        if (value := values.get(name)) is not None:
            return name, value
    return "", None


def text(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    value = pick(values, names)[1]
    return None if value is None else str(value)


def boolean(value: Any) -> bool | None:
    """Ansible's idea of a truth value; None when it is none."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def arguments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments that the inventory adds to ssh's command line. Raises ValueError for an unclosed quote."""
    return tuple(part for name in ARGS if (given := values.get(name)) is not None for part in shlex.split(str(given)))


#: ssh options that take a value in the next argument, as in ssh(1).
_WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"
_AS_OPTION = {"J": "proxyjump", "i": "identityfile", "p": "port", "l": "user"}


def options(arguments: tuple[str, ...]) -> dict[str, str]:
    """OpenSSH options out of command-line arguments: lower-case option name -> value, the first setting wins as in ssh.

    `-o ProxyJump=b`, `-oProxyJump=b`, `-o "ProxyCommand ssh -W %h:%p b"` and `-J b` are all understood.
    """
    found: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if len(word) < 2 or word[0] != "-" or word[1] not in _WITH_VALUE:
            continue
        value = word[2:] or next(words, "")
        if word[1] == "o":
            name, _, value = value.replace("=", " ", 1).partition(" ")
            if name:
                found.setdefault(name.lower(), value.strip().strip('"'))
        elif name := _AS_OPTION.get(word[1], ""):
            found.setdefault(name, value)
    return found
