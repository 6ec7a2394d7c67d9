"""The probe from end to end: real SSH on 127.0.0.1, and each way to fail told apart from the others."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from probe_servers import ME, Server, key

from arena_install.events import Event, ignore
from arena_install.inventory.cluster import Cluster
from arena_install.probe import Facts, HostFacts, Unreachable, probe

Clusters = Callable[..., Cluster]


@pytest.fixture(scope="module")
def server(sshd: Callable[..., Server]) -> Server:
    return sshd("plain")


@pytest.fixture(scope="module")
def other(sshd: Callable[..., Server]) -> Server:
    return sshd("other")


def lost(facts: Facts, name: str) -> Unreachable:
    host = facts.hosts[name]
    assert isinstance(host, Unreachable), host
    assert host.what
    assert host.why
    assert host.fix
    assert f"host {name} (" in host.where
    return host


def test_hosts_are_looked_at_and_told_of(
    server: Server, cluster_of: Clusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events: list[Event] = []
    facts = probe(cluster_of(w1=server.variables, w2=server.variables), events.append)
    for name in ("w1", "w2"):
        host = facts.hosts[name]
        assert isinstance(host, HostFacts), host
        assert host.cpus >= 1
        assert host.clock_offset is not None
        assert abs(host.clock_offset) < 0.5 + host.clock_error
        assert [event.kind for event in events if event.step == f"probe/{name}"] == ["start", "end"]
    assert {"hostname-duplicate", "machine-id-duplicate"} & {finding.id for finding in facts.findings}
    assert Facts.from_json(facts.to_json()) == facts
    assert list(tmp_path.iterdir()) == []  # nothing stays behind here either


def test_every_failure_is_told_apart(
    server: Server, other: Server, cluster_of: Clusters, tmp_path: Path, silent: int, not_ssh: int
) -> None:
    """All in one run, beside a host that works: none spoils another."""
    good = server.variables
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    stranger, locked = key(tmp_path / "stranger"), key(tmp_path / "locked", passphrase="secret-phrase")
    open_key = key(tmp_path / "open")
    open_key.chmod(0o644)
    junk = tmp_path / "junk"
    junk.write_text("not a key\n")
    junk.chmod(0o600)
    swapped = tmp_path / "swapped"
    swapped.write_text(f"[127.0.0.1]:{server.port} {(other.folder / 'host_ed25519.pub').read_text()}")
    common = "-F /dev/null -o UserKnownHostsFile="

    def with_(**changes: Any) -> dict[str, Any]:
        return {**good, **{f"ansible_{name}": value for name, value in changes.items()}}

    cluster = cluster_of(
        works=good,
        refused=with_(port=closed),
        silent=with_(port=silent),
        banner=with_(port=not_ssh),
        dns={**good, "address": "no-such-host.invalid"},
        unknown=with_(ssh_common_args=f"{common}{tmp_path}/none"),
        changed=with_(ssh_common_args=f"{common}{swapped}"),
        auth=with_(ssh_private_key_file=str(stranger)),
        missing=with_(ssh_private_key_file=str(tmp_path / "missing")),
        unprotected=with_(ssh_private_key_file=str(open_key)),
        encrypted=with_(ssh_private_key_file=str(locked)),
        junk=with_(ssh_private_key_file=str(junk)),
        vault=with_(become_password={"__ansible_vault": "..."}),
        template=with_(user="{{ some_variable }}"),
        docker=with_(connection="docker"),
        option=with_(ssh_common_args="-o NoSuchOption=1"),
    )
    facts = probe(cluster, ignore, timeout=6)
    assert isinstance(facts.hosts["works"], HostFacts), facts.hosts["works"]
    kinds = {name: lost(facts, name).kind for name in facts.hosts if name != "works"}
    assert kinds == {
        "refused": "refused",
        "silent": "timeout",
        "banner": "not_ssh",
        "dns": "dns",
        "unknown": "host_key_unknown",
        "changed": "host_key_changed",
        "auth": "auth",
        "missing": "key_missing",
        "unprotected": "key_unprotected",
        "encrypted": "key_encrypted",
        "junk": "key_invalid",
        "vault": "settings",
        "template": "settings",
        "docker": "settings",
        "option": "settings",
    }
    assert lost(facts, "refused").where == f"host refused (127.0.0.1:{closed}, user {ME})"
    assert "SHA256:" in lost(facts, "unknown").why
    assert str(swapped) in lost(facts, "changed").fix
    assert "hosts.ini:" in lost(facts, "missing").fix
    assert len({(lost(facts, name).what, lost(facts, name).why) for name in kinds}) == len(kinds)
    for name in kinds:
        assert "secret-phrase" not in str(lost(facts, name))


def test_every_way_to_be_trusted(
    server: Server, sshd: Callable[..., Server], cluster_of: Clusters, tmp_path: Path
) -> None:
    """Keys with a passphrase; checking switched off; and known_hosts in every form that ssh takes: an RSA key known of
    a server that has others too, hashed, without the port, under an alias, beside junk."""
    locked = key(tmp_path / "locked", passphrase="secret-phrase")
    with (server.folder / "authorized").open("a") as authorized:
        authorized.write(Path(f"{locked}.pub").read_text())
    empty = tmp_path / "empty"
    empty.touch()
    untold = f"-F /dev/null -o UserKnownHostsFile={empty}"
    hosts = {
        "passphrase": {
            **server.variables,
            "ansible_ssh_private_key_file": str(locked),
            "ansible_ssh_private_key_passphrase": "secret-phrase",
        },
        "no": {**server.variables, "ansible_ssh_common_args": f"{untold} -o StrictHostKeyChecking=no"},
        "new": {**server.variables, "ansible_ssh_common_args": f"{untold} -o StrictHostKeyChecking=accept-new"},
        "flag": {**server.variables, "ansible_ssh_common_args": untold, "ansible_host_key_checking": False},
    }
    many = sshd("kinds", kinds=("ed25519", "ecdsa", "rsa"))
    rsa, name = (many.folder / "host_rsa.pub").read_text(), f"[127.0.0.1]:{many.port}"
    files = {
        "rsa": f"{name} {rsa}",
        "hashed": f"{name} {rsa}",
        "portless": f"127.0.0.1 {rsa}",
        "alias": f"my-host {rsa}",
        "junk": f"@cert-authority * {rsa}\nnonsense\n# {name}\n{name} ssh-ed25519 AAAA\n{name} {rsa}",
    }
    for form, text in files.items():
        (tmp_path / form).write_text(text)
        arguments = f"-F /dev/null -o UserKnownHostsFile={tmp_path / form}"
        if form == "alias":
            arguments += " -o HostKeyAlias=my-host"
        hosts[form] = {**many.variables, "ansible_ssh_common_args": arguments}
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", tmp_path / "hashed"], check=True, capture_output=True)
    assert "127.0.0.1" not in (tmp_path / "hashed").read_text()
    facts = probe(cluster_of(**hosts), ignore)
    assert facts.unreachable == {}
    assert empty.read_text() == ""  # looking records nothing


# ---- jump hosts -----------------------------------------------------------------------------------------------------


def config(path: Path, *servers: tuple[str, Server], extra: str = "") -> Path:
    text = extra
    for name, server in servers:
        text += f"Host {name}\n HostName 127.0.0.1\n Port {server.port}\n User {ME}\n"
        text += f" IdentityFile {server.folder}/user\n IdentitiesOnly yes\n"
        text += f" UserKnownHostsFile {server.folder}/known_hosts\n"
    path.write_text(text)
    path.chmod(0o600)
    return path


def behind(server: Server, arguments: str, **changes: Any) -> dict[str, Any]:
    known = f" -o UserKnownHostsFile={server.folder}/known_hosts"
    return {**server.variables, "ansible_ssh_common_args": arguments + known, **changes}


def test_through_jump_hosts(server: Server, other: Server, cluster_of: Clusters, tmp_path: Path) -> None:
    file = config(tmp_path / "config", ("jump", other), ("second", server), extra="")
    proxy = shlex.quote(
        f"ssh -F /dev/null -i {other.folder}/user -o UserKnownHostsFile={other.folder}/known_hosts "
        f"-W %h:%p -p {other.port} {ME}@127.0.0.1"
    )
    before = other.log.read_text(errors="replace").count("Accepted publickey")
    facts = probe(
        cluster_of(
            jump=behind(server, f"-F {file} -o ProxyJump=jump"),
            twice=behind(server, f"-F {file} -J jump,second"),
            command=behind(server, f"-F /dev/null -o ProxyCommand={proxy}"),
        ),
        ignore,
    )
    assert facts.unreachable == {}
    assert other.log.read_text(errors="replace").count("Accepted publickey") == before + 3


def test_jump_hosts_that_fail(server: Server, other: Server, cluster_of: Clusters, tmp_path: Path) -> None:
    file = config(tmp_path / "config", ("jump", other))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    facts = probe(
        cluster_of(
            no_jump=behind(server, f"-F {file} -o ProxyJump=127.0.0.1:{closed}"),
            not_trusted=behind(server, f"-F /dev/null -o ProxyJump=127.0.0.1:{other.port}"),
            no_host=behind(server, f"-F {file} -o ProxyJump=jump", ansible_port=closed),
            wrong_key=behind(
                server, f"-F {file} -o ProxyJump=jump", ansible_ssh_private_key_file=f"{other.folder}/user"
            ),
        ),
        ignore,
        timeout=15,
    )
    kinds = {name: lost(facts, name).kind for name in facts.hosts}
    assert kinds == {"no_jump": "jump", "not_trusted": "jump", "no_host": "refused", "wrong_key": "auth"}
    assert "Connection refused" in lost(facts, "no_jump").why
    assert "through jump" in lost(facts, "no_host").where


def test_a_busy_server_is_asked_again(sshd: Callable[..., Server], cluster_of: Clusters) -> None:
    """It drops logins by chance while more than six are being made."""
    busy = sshd("busy", "MaxStartups 6:30:100")
    facts = probe(cluster_of(**{f"w{number}": busy.variables for number in range(8)}), ignore)
    assert facts.unreachable == {}


# ---- this machine, sudo, odd shells ---------------------------------------------------------------------------------

FAKE_SUDO = r"""#!/bin/sh
# Behaves as sudo does: -n fails where a password is due; -S prompts on stderr and reads stdin, three times at most.
echo "$*" >>"{log}"
prompt=
while [ $# -gt 0 ]; do
    case $1 in
        -n) quiet=yes ;;
        -S | -k) ;;
        -p) prompt=$2; shift ;;
        *) break ;;
    esac
    shift
done
case {mode} in
    open) exec env FAKE_ROOT=1 "$@" ;;
    denied) echo "user is not in the sudoers file." >&2; exit 1 ;;
esac
[ "$quiet" = yes ] && { echo "sudo: a password is required" >&2; exit 1; }
for try in 1 2 3; do
    printf '%s' "$prompt" >&2
    IFS= read -r password || { echo "sudo: no password was provided" >&2; exit 1; }
    echo tried >>"{log}"
    [ "$password" = "right one" ] && exec env FAKE_ROOT=1 "$@"
    echo "Sorry, try again." >&2
done
echo "sudo: 3 incorrect password attempts" >&2
exit 1
"""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster_of: Clusters) -> Callable[..., tuple[Facts, str]]:
    """local(mode, **variables): probe this machine as someone who is not root, with a sudo of that kind."""

    def run(mode: str, **variables: Any) -> tuple[Facts, str]:
        folder, log = tmp_path / "bin", tmp_path / "log"
        folder.mkdir(exist_ok=True)
        log.write_text("")
        (folder / "id").write_text('#!/bin/sh\n[ "$FAKE_ROOT" ] && exec /usr/bin/id "$@"\necho 1000\n')
        (folder / "fake-sudo").write_text(FAKE_SUDO.replace("{log}", str(log)).replace("{mode}", mode))
        for file in folder.iterdir():
            file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        names = {f"ansible_{name}": value for name, value in variables.items()}
        facts = probe(
            cluster_of(me={"ansible_connection": "local", "ansible_become_exe": "fake-sudo", **names}), ignore
        )
        return facts, log.read_text()

    return run


def test_this_machine(cluster_of: Clusters) -> None:
    facts = probe(cluster_of(me={"ansible_connection": "local", "ansible_become": os.getuid() != 0}), ignore)
    assert isinstance(facts.hosts["me"], HostFacts), facts.hosts["me"]


def test_sudo_without_a_password(local: Callable[..., tuple[Facts, str]]) -> None:
    facts, log = local("open")
    assert isinstance(facts.hosts["me"], HostFacts), facts.hosts["me"]
    assert log.startswith("-n sh -c ")


def test_the_sudo_password_goes_in_by_stdin_only(local: Callable[..., tuple[Facts, str]]) -> None:
    facts, log = local("password", become_password="right one")
    assert isinstance(facts.hosts["me"], HostFacts), facts.hosts["me"]
    assert log.startswith("-k -S -p ")
    assert "right one" not in log


def test_a_password_that_is_not_asked_for_is_not_sent(local: Callable[..., tuple[Facts, str]]) -> None:
    facts, _ = local("open", become_password="right one")
    assert isinstance(facts.hosts["me"], HostFacts), facts.hosts["me"]
    assert "right one" not in facts.to_json()


def test_a_wrong_sudo_password_is_tried_once(local: Callable[..., tuple[Facts, str]]) -> None:
    facts, log = local("password", become_password="wrong one")
    assert lost(facts, "me").kind == "sudo_password_wrong"
    assert log.count("tried") == 1
    assert "wrong one" not in facts.to_json()


@pytest.mark.parametrize(
    ("mode", "variables", "kind"),
    [
        ("password", {}, "sudo_password_needed"),
        ("denied", {}, "sudo_denied"),
        ("denied", {"become_password": "right one"}, "sudo_denied"),
        ("open", {"become_exe": "no-such-sudo"}, "sudo_missing"),
        ("open", {"become_exe": "sudo'; rm"}, "settings"),
        ("open", {"become_method": "su"}, "settings"),
    ],
)
def test_sudo_failures(
    local: Callable[..., tuple[Facts, str]], mode: str, variables: dict[str, Any], kind: str
) -> None:
    assert lost(local(mode, **variables)[0], "me").kind == kind


def test_without_become_the_facts_say_so(local: Callable[..., tuple[Facts, str]]) -> None:
    facts, log = local("open", become=False)
    assert log == ""
    assert isinstance(facts.hosts["me"], HostFacts)


@pytest.mark.skipif(os.getuid() != 0, reason="needs an sshd that may set the shell: root")
def test_no_shell_a_chatty_shell_and_an_answer_cut_off(sshd: Callable[..., Server], cluster_of: Clusters) -> None:
    chatty = sshd("chatty", 'ForceCommand echo "Welcome! @ready @begin"; echo noise >&2; eval "$SSH_ORIGINAL_COMMAND"')
    none = sshd("none", "ForceCommand echo This account is not available.; exit 1")
    cut = sshd("cut", 'ForceCommand eval "$SSH_ORIGINAL_COMMAND" | sed -u 12q')
    facts = probe(cluster_of(chatty=chatty.variables, none=none.variables, cut=cut.variables), ignore)
    assert isinstance(facts.hosts["chatty"], HostFacts), facts.hosts["chatty"]
    assert lost(facts, "none").kind == "no_shell"
    assert "not available" in lost(facts, "none").why
    assert lost(facts, "cut").kind == "truncated"


# ---- the process itself ---------------------------------------------------------------------------------------------


def test_the_caller_does_not_import_pyinfra() -> None:
    code = (
        "import arena_install.probe.runner, sys; sys.exit(bool({'pyinfra', 'gevent', 'paramiko'} & set(sys.modules)))"
    )
    source = Path(__file__).parents[3] / "installer"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(source)}).returncode == 0


def test_no_hosts_is_no_work(cluster_of: Clusters) -> None:
    assert probe(cluster_of(), ignore) == Facts()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections into its backlog and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


@pytest.fixture
def not_ssh() -> Iterator[int]:
    """A port where something that is not SSH answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)

        def answer() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)
            except OSError:
                pass

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
