"""registry: it serves on the node's address alone, the way to push is shut, and its keys are private."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://control_plane"]


def test_it_serves_on_the_nodes_address(host: Host) -> None:
    assert host.package("docker-registry").is_installed
    assert host.service("docker-registry").is_enabled
    assert host.service("docker-registry").is_running
    assert host.socket(f"tcp://{host.ansible.get_variables()['ip']}:5000").is_listening
    assert not host.socket("tcp://127.0.0.1:5000").is_listening


def test_pushing_is_open_only_while_something_is_pushed(host: Host) -> None:
    assert not host.service("arena-registry-push").is_running
    assert not host.file("/run/arena-registry/push.sock").exists


def test_keys_are_private(host: Host) -> None:
    folder = "/etc/arena-install/registry"
    assert (host.file(f"{folder}/ca.key").user, host.file(f"{folder}/ca.key").mode) == ("root", 0o600)
    key = host.file(f"{folder}/tls.key")
    assert (key.user, key.group, key.mode) == ("root", "docker-registry", 0o640)
