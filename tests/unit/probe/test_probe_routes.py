"""Ansible's variables to the settings that OpenSSH makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arena_install.errors import ConfigError
from arena_install.inventory.cluster import Host, Source
from arena_install.probe.ssh import Route, route


def of(inventory: Path | None = None, **variables: Any) -> Route:
    variables.setdefault("ansible_ssh_common_args", "-F /dev/null")
    return route(Host("w1", frozenset({"worker"}), "10.0.0.3", "", variables, Source("hosts.ini", 4)), inventory)


def test_plain() -> None:
    plain = of(ansible_user="ops", ansible_port="2222")
    assert (plain.hostname, plain.port, plain.user, plain.strict) == ("10.0.0.3", 2222, "ops", True)
    assert plain.become
    assert not plain.local
    assert plain.known_hosts[0].endswith("/.ssh/known_hosts")


def test_the_inventorys_port_and_user_win_over_arguments(tmp_path: Path) -> None:
    chosen = of(
        ansible_port=2200, ansible_user="a", ansible_ssh_common_args="-F /dev/null -p 23 -l b -o ConnectTimeout=7"
    )
    assert (chosen.port, chosen.user, chosen.connect_timeout) == (2200, "a", 7.0)
    assert of(ansible_ssh_common_args="-F /dev/null -p 23 -l b").port == 23


def test_key_files_are_relative_to_the_inventory(tmp_path: Path) -> None:
    assert of(tmp_path / "hosts.ini", ansible_ssh_private_key_file="keys/k").key == str(tmp_path / "keys/k")
    assert of(tmp_path / "hosts.ini", ansible_private_key_file="/abs/k").key == "/abs/k"


def test_files_with_spaces_and_further_identities(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    for name in ("known", "second", "main key"):
        (folder / name).touch()
    arguments = f"-F /dev/null -o 'UserKnownHostsFile=\"{folder}/known\"' -i '{folder}/second' -i /no/such"
    chosen = of(ansible_ssh_common_args=arguments, ansible_ssh_private_key_file=f"{folder}/main key")
    assert chosen.known_hosts[0] == f"{folder}/known"
    assert chosen.key == f"{folder}/main key"
    assert chosen.identities == (f"{folder}/second",)


def test_a_configuration_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "Host 10.0.0.*\n HostName real.example.com\n Port 2022\n User deploy\n HostKeyAlias alias\n"
        " IdentitiesOnly yes\n ProxyJump one@bastion:2200,two\n"
    )
    chosen = of(ansible_ssh_common_args=f"-F {file}")
    assert (chosen.hostname, chosen.port, chosen.user) == ("real.example.com", 2022, "deploy")
    assert (chosen.host_key_alias, chosen.agent) == ("alias", "")
    assert chosen.jump == "one@bastion:2200,two"
    assert chosen.proxy_command == (
        f"ssh -o BatchMode=yes -F {file} -J one@bastion:2200 -W '[real.example.com]:2022' -- two"
    )


@pytest.mark.parametrize(
    ("jump", "command"),
    [
        ("bastion", "ssh -o BatchMode=yes -F /dev/null -W '[10.0.0.3]:22' -- bastion"),
        ("me@bastion:2200", "ssh -o BatchMode=yes -F /dev/null -l me -p 2200 -W '[10.0.0.3]:22' -- bastion"),
        ("me@[fd00::1]:2200", "ssh -o BatchMode=yes -F /dev/null -l me -p 2200 -W '[10.0.0.3]:22' -- fd00::1"),
    ],
)
def test_jump_hosts(jump: str, command: str) -> None:
    assert of(ansible_ssh_common_args=f"-F /dev/null -J {jump}").proxy_command == command


def test_proxy_commands_are_expanded() -> None:
    chosen = of(
        ansible_user="ops",
        ansible_port=2222,
        ansible_ssh_extra_args="-o ProxyCommand='nc --proxy p:1 %h %p # %r %%'",
    )
    assert chosen.proxy_command == "nc --proxy p:1 10.0.0.3 2222 # ops %"
    assert chosen.jump == "a ProxyCommand"


@pytest.mark.parametrize(
    ("variables", "strict", "accept_new"),
    [
        ({}, True, False),
        ({"ansible_host_key_checking": "false"}, False, False),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=off"}, False, False),
        ({"ansible_ssh_extra_args": "-o StrictHostKeyChecking=accept-new"}, True, True),
    ],
)
def test_host_key_checking(variables: dict[str, Any], strict: bool, accept_new: bool) -> None:
    chosen = of(**variables)
    assert (chosen.strict, chosen.accept_new) == (strict, accept_new)


def test_secrets_are_taken_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_SECRET", "hunter2")
    chosen = of(
        ansible_password="hunter1",
        ansible_become_password="{{ lookup('env', 'SUDO_SECRET') }}",
        ansible_ssh_private_key_passphrase="hunter3",
    )
    assert (chosen.password, chosen.sudo_password, chosen.key_passphrase) == ("hunter1", "hunter2", "hunter3")
    assert "hunter" not in repr(chosen)
    assert "hunter" not in str(chosen.fields(30))


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ansible_become_password": "{{ lookup('env', 'NO_SUCH_VARIABLE') }}"}, "NO_SUCH_VARIABLE is not set"),
        ({"ansible_ssh_common_args": "-o 'x"}, "can't be split"),
        ({"ansible_connection": "winrm"}, "not supported"),
        ({"ansible_become_method": "doas"}, "only sudo"),
    ],
)
def test_what_cannot_be_used_is_said(variables: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        of(**variables)
    assert "hosts.ini:4" in caught.value.where


def test_this_machine() -> None:
    chosen = of(ansible_connection="ansible.builtin.local", ansible_become="no")
    assert chosen.local
    assert not chosen.become


def test_password_and_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    assert of().agent == "/run/agent"
    assert of(ansible_ssh_common_args="-F /dev/null -o IdentitiesOnly=yes").agent == ""
    assert of(ansible_ssh_common_args="-F /dev/null -o IdentityAgent=none").agent == ""
    assert of(ansible_ssh_common_args="-F /dev/null -o IdentityAgent=~/a").agent.endswith("/a")
