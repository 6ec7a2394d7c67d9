"""container_runtime: containerd runs, and takes every image from the cluster's registry first."""

from __future__ import annotations

import re

from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


def test_containerd_runs(host: Host) -> None:
    assert host.package("containerd").is_installed
    assert host.service("containerd").is_enabled
    assert host.service("containerd").is_running


def test_cgroups_are_systemds_and_gpu_hosts_have_nvidias_runtime(host: Host) -> None:
    config = host.file("/etc/containerd/config.toml")
    assert config.contains("SystemdCgroup = true")
    assert config.contains("runtimes.nvidia") == ("gpu" in host.ansible.get_variables()["group_names"])


def test_network_plugins_are_where_everybody_looks(host: Host) -> None:
    for name in ("bridge", "host-local", "loopback", "portmap"):
        assert host.file(f"/opt/cni/bin/{name}").linked_to == f"/usr/lib/cni/{name}"


def test_images_can_be_pulled_over_the_network_and_nothing_pushed(host: Host) -> None:
    """By the address and the authority that containerd goes by."""
    mirror = host.file("/etc/containerd/certs.d/registry.k8s.io/hosts.toml").content_string
    found = re.search(r'\[host\."(https://[^/]+)/.*?ca = "(.+?)"', mirror, re.DOTALL)
    assert found, mirror
    registry, authority = found.groups()
    status = "curl -s -o /dev/null -w '%%{http_code}' --cacert %s"
    assert host.check_output(f"{status} %s/v2/", authority, registry) == "200"
    assert host.check_output(f"{status} -X POST %s/v2/x/blobs/uploads/", authority, registry) == "405"
