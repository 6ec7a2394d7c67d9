"""worker: a host that joined, and holds nothing that would let it act as a control plane."""

from __future__ import annotations

import json
import re

from testinfra.host import Host

testinfra_hosts = ["ansible://worker"]


def test_its_kubelet_knows_its_node(host: Host) -> None:
    """With the certificate that it was given when it joined."""
    config = host.file("/etc/kubernetes/kubelet.conf")
    assert (config.user, config.mode) == ("root", 0o600)
    server = re.search(r"server: (\S+)", config.content_string)
    assert server
    name, address = host.backend.get_hostname(), host.ansible.get_variables()["ip"]
    trust = "--cacert /etc/kubernetes/pki/ca.crt --cert /var/lib/kubelet/pki/kubelet-client-current.pem"
    node = json.loads(host.check_output(f"curl -sf {trust} {server[1]}/api/v1/nodes/{name}"))
    assert {"type": "InternalIP", "address": address} in node["status"]["addresses"]


def test_it_holds_no_administrators_keys(host: Host) -> None:
    assert host.file("/etc/kubernetes/pki").listdir() == ["ca.crt"]
    assert not host.file("/etc/kubernetes/admin.conf").exists
    assert not host.file("/etc/kubernetes/manifests").exists
