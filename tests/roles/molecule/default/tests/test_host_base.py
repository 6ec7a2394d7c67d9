"""host_base: a name, kernel settings, packages; nothing of the kernel that container hosts share with this machine."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


def test_the_host_knows_its_name(host: Host) -> None:
    name = host.backend.get_hostname()
    assert host.check_output("hostname") == name
    assert host.file("/etc/hostname").content_string.strip() == name
    assert host.addr(name).is_resolvable


def test_packages_are_installed(host: Host) -> None:
    for name in ("ca-certificates", "conntrack", "ethtool", "nftables", "openssl", "socat"):
        assert host.package(name).is_installed, name


def test_settings_hold_now_and_after_a_reboot(host: Host) -> None:
    kept = host.file("/etc/sysctl.d/90-arena-install.conf")
    for name in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"):
        assert host.sysctl(name) == 1
        assert kept.contains(f"^-{name} = 1$")
    assert not kept.contains("vm[.]")
    assert not kept.contains("fs[.]")


def test_upgrades_pass_over_what_pods_and_gpus_need(host: Host) -> None:
    kept = host.file("/etc/apt/apt.conf.d/60arena-install")
    assert kept.contains('"containerd";')
    assert kept.contains('"nvidia-";') == ("gpu" in host.ansible.get_variables()["group_names"])


def test_no_unit_failed(host: Host) -> None:
    assert host.check_output("systemctl is-system-running") == "running"
