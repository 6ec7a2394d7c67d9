"""Servers to look at, and clusters made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from probe_servers import Server

from arena_install.inventory.cluster import Cluster, Host, Source
from arena_install.inventory.config import Config


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers: sshd(name, *options). All end with the module's tests."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("no /usr/sbin/sshd: install openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks its unprivileged half in
    folder = tmp_path_factory.mktemp("sshd", numbered=True)
    folder.chmod(0o700)
    servers: list[Server] = []

    def start(name: str, *options: str, kinds: tuple[str, ...] = ("ed25519",)) -> Server:
        server = Server(folder / name, options, kinds)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def cluster_of() -> Callable[..., Cluster]:
    """cluster_of(w1={variables}, ...): a cluster of workers at 127.0.0.1, or at `address` among the variables."""

    def make(**hosts: dict[str, Any]) -> Cluster:
        made = []
        for line, (name, variables) in enumerate(hosts.items(), 1):
            own = dict(variables)
            made.append(
                Host(
                    name=name,
                    groups=frozenset(own.pop("groups", {"worker"})),
                    address=own.pop("address", "127.0.0.1"),
                    node_ip=own.pop("node_ip", ""),
                    vars=own,
                    source=Source("hosts.ini", line),
                )
            )
        return Cluster("test", tuple(made), Config(), None)

    return make
