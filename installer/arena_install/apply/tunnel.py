"""Reach the API of a cluster whose nodes only SSH can reach (a jump host, a firewall): a port forward for one run.

The kubeconfig that users get keeps the node's own address; what is yielded here is a private copy that goes through
the tunnel, with the certificate still checked against the node's address.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from arena_install import fastyaml
from arena_install.errors import UnreachableError
from arena_install.inventory.cluster import Host

_PATIENCE = 20.0  # seconds for ssh to log in and open the forward


@contextmanager
def reachable(kubeconfig: Path, through: Host) -> Iterator[Path]:
    """Yield a kubeconfig whose server answers from here: the given one, or a copy through SSH to `through`.

    Raises UnreachableError when neither way works.
    """
    config = fastyaml.load(kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    host, port = server.hostname or "", server.port or 443
    if _answers(host, port):
        yield kubeconfig
        return
    with tempfile.TemporaryDirectory(prefix="arena-install-") as folder:
        local = _free_port()
        child = subprocess.Popen(
            _command(through, f"127.0.0.1:{local}:{host}:{port}"),
            env={**os.environ, **_askpass(through, Path(folder))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _wait(child, local, through, f"{host}:{port}")
            for entry in config["clusters"]:
                entry["cluster"]["server"] = f"https://127.0.0.1:{local}"
                entry["cluster"]["tls-server-name"] = host
            copy = Path(folder) / "kubeconfig"
            copy.touch(mode=0o600)
            copy.write_text(yaml.safe_dump(config))
            yield copy
        finally:
            child.terminate()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _answers(host: str, port: int, patience: float = 3.0) -> bool:
    try:
        with socket.create_connection((host, port), timeout=patience):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(host: Host, forward: str) -> list[str]:
    command = ["ssh", *host.ssh_args, "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15", "-N"]
    command += ["-o", f"ConnectTimeout={int(_PATIENCE)}", "-p", str(host.port), "-L", forward]
    if host.key_file:
        command += ["-i", str(host.key_file)]
    if not (host.password or host.key_passphrase):
        command += ["-o", "BatchMode=yes"]
    return [*command, f"{host.user}@{host.address}" if host.user else host.address]


def _askpass(host: Host, folder: Path) -> dict[str, str]:
    """ssh asks a helper for the password, so that it stands in no argument list; the helper holds no secret itself."""
    secret = host.password or host.key_passphrase
    if not secret:
        return {}
    helper = folder / "askpass"
    helper.write_text('#!/bin/sh\nprintf "%s\\n" "$ARENA_INSTALL_SSH_SECRET"\n')
    helper.chmod(0o700)
    return {"SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force", "ARENA_INSTALL_SSH_SECRET": secret}


def _wait(child: subprocess.Popen[bytes], port: int, through: Host, target: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if child.poll() is not None:
            said = child.stderr.read().decode(errors="replace").strip() if child.stderr else ""
            raise UnreachableError(
                f"the API at {target} can't be reached, neither directly nor through SSH",
                where=f"host {through.name}",
                why=said or f"ssh ended with {child.returncode}",
                fix="check that the host's SSH server allows TCP forwarding, or run this where the API can be reached",
            )
        if _answers("127.0.0.1", port, 0.5):
            return
        time.sleep(0.2)
    raise UnreachableError(
        f"the API at {target} can't be reached, neither directly nor through SSH",
        where=f"host {through.name}",
        why=f"no answer through the tunnel within {_PATIENCE:.0f} s",
        fix="check the network between you and the host, and run the same command again",
    )
