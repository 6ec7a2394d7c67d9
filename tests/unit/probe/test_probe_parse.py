"""Answers of hosts, as text, to facts; also of hosts unlike this one."""

from __future__ import annotations

import pytest

from arena_install.probe.facts import Gpu, Interface, LedgerItem, Listener, Membership, Nameserver, PciGpu
from arena_install.probe.parse import clock_offset, parse
from arena_install.probe.services import Package, PrivateFile, Unit, Upgrades

GPU_HOST = """\
@begin n 1700000000.25
uid=0
uname=Linux 6.8.0-45-generic x86_64
hostname=gpu-1
machine_id=0123456789abcdef0123456789abcdef
product_uuid=4C4C4544-0042-3510-8053-B4C04F4D3033
product_name=PowerEdge XE8545
init=systemd
systemd=yes
os.PRETTY_NAME=Ubuntu 24.04.1 LTS
os.VERSION_ID=24.04
os.ID=ubuntu
cpus=128
MemTotal=1056415744
MemAvailable=1040000000
SwapTotal=8388604
timesync=yes
virt.container=none
virt.vm=none
cgroup=v2
disk.path|/
disk.path|/var/lib
disk.path|/var/lib/containerd
df|Filesystem     1024-blocks     Used Available Capacity Mounted on
df|/dev/sda2        514937088 24537876 490399212       5% /
df|/dev/sda2        514937088 24537876 490399212       5% /
df|/dev/nvme0n1    1875000000 10485760 1864514240      1% /var/lib/containerd with space
module|loaded|overlay
module|present|overlay
module|loaded|nvidia
module|available|br_netfilter
module|available|nf-tables
kconfig|NFS_FS
filesystem|overlay
filesystem|ext4
sysctl|net/ipv4/ip_forward|0
interface|eno1|b0:7b:25:00:00:01|9000|up
interface|eno2|b0:7b:25:00:00:02|1500|down
address|eno1|10.0.0.11/24
address|eno1|fe80::b27b:25ff:fe00:1/64
route|default via 10.0.0.1 dev eno1 proto static
route|default via fe80::1 dev eno1
nameserver|10.0.0.1
nameserver|10.0.0.2
search|example.com corp.example.com
ports=ss
ss|LISTEN 0      4096      127.0.0.1:10257      0.0.0.0:*    users:(("kube-controller",pid=2101,fd=3))
ss|LISTEN 0      4096              *:6443             *:*    users:(("kube-apiserver",pid=1,fd=3))
ss|LISTEN 0      511            [::]:80            [::]:*
now=1700000000
uptime=5000.25 4000.00
boot_id=0731d9c8-c760-406c-83be-20d574b8b10c
own_name=10.0.0.11       gpu-1
unit|containerd.service|enabled|active|running|success|1000000000|0
unit|chrony.service|disabled|inactive|dead|success|0|0
chrony=Not synchronised
private|640|root|docker-registry|/etc/arena-install/registry/tls.key
package|hold|550.127.05-1|nvidia-driver
package|install|1.7.24|containerd
upgrades=yes
apt|APT::Periodic::Unattended-Upgrade|1
apt|Unattended-Upgrade::Package-Blacklist::|nvidia-
driver|runfile|/usr/bin/nvidia-uninstall
driver|runfile|/usr/bin/nvidia-installer
changed|1699996000|/etc/containerd/config.toml
runtime|runc
runtime|nvidia
pci|0000:01:00.0|0x20b0|0x030200|nvidia
pci|0000:01:00.1|0x10ef|0x040300|snd_hda_intel
device|/dev/nvidia0
device|/dev/nvidiactl
nvidia.version=NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build
secureboot.byte=1
k8s.server=https://10.0.0.10:6443
k8s.ca=aaaa  -
k8s.control_plane=yes
ledger|container_runtime|role=container_runtime
ledger|container_runtime|status=done
ledger|container_runtime|inputs=abc=def
ledger|container_runtime|at=2026-01-01T00:00:00Z
before|container_runtime|file|/etc/containerd/config.toml|absent
package|container_runtime|containerd
package|container_runtime|runc
item|container_runtime|file|/etc/containerd/config.toml|00 644 0:0
item|container_runtime|unit|containerd.service|enabled active
item|container_runtime|broken
found|file|/etc/containerd/config.toml|11 644 0:0
found|unit|containerd.service|enabled active
dns|10.0.0.1|answers
dns|10.0.0.2|silent
smi.status=0
smi|0, GPU-8f9e, NVIDIA A100-SXM4-80GB, 81920, 580.95.05
version|containerd|containerd github.com/containerd/containerd v1.7.24 88bf19b
version|kubelet|Kubernetes v1.36.3
version|kubeadm|v1.36.3
version|runc|
sha256|aaaa  /etc/kubernetes/pki/ca.crt
sha256|bbbb  /etc/containerd/config.toml
a line that means nothing
@end n
"""


def test_a_gpu_host() -> None:
    facts = parse(GPU_HOST, [["1700000000.25", 1700000000.0, 1700000000.1]])
    assert (facts.os.id, facts.os.version) == ("ubuntu", "24.04")
    assert (facts.kernel, facts.arch, facts.virt, facts.init) == ("6.8.0-45-generic", "x86_64", "bare", "systemd")
    assert (facts.memory, facts.swap, facts.cpus) == (1031656, 8191, 128)
    assert facts.clock_offset == pytest.approx(0.2)
    assert facts.clock_error == pytest.approx(0.05)
    containerd = facts.disk("/var/lib/containerd")
    assert containerd is not None
    assert containerd.mount == "/var/lib/containerd with space"
    assert containerd.free == 1864514240 // 1024
    assert facts.modules == {
        "overlay": "loaded",
        "nvidia": "loaded",
        "br_netfilter": "available",
        "nf_tables": "available",
        "nfs": "builtin",
    }
    assert facts.sysctls == {"net.ipv4.ip_forward": "0"}
    first = Interface("eno1", "b0:7b:25:00:00:01", 9000, True, ("10.0.0.11/24", "fe80::b27b:25ff:fe00:1/64"))
    assert facts.interface_of("10.0.0.11") == first
    assert [interface.up for interface in facts.interfaces] == [True, False]
    assert (facts.default_gateway, facts.default_interface) == ("10.0.0.1", "eno1")
    assert facts.nameservers == (Nameserver("10.0.0.1", "answers"), Nameserver("10.0.0.2", "silent"))
    assert facts.dns_search == ("example.com", "corp.example.com")
    assert facts.listening == (
        Listener(80, "[::]", ""),
        Listener(6443, "*", "kube-apiserver"),
        Listener(10257, "127.0.0.1", "kube-controller"),
    )
    assert facts.nvidia.pci == (PciGpu("0000:01:00.0", "0x20b0", "nvidia"),)
    assert facts.nvidia.gpus == (Gpu(0, "GPU-8f9e", "NVIDIA A100-SXM4-80GB", 81920),)
    assert facts.nvidia.kernel_driver == facts.nvidia.driver == "580.95.05"
    assert facts.secure_boot is True
    assert facts.versions == {"containerd": "v1.7.24", "kubelet": "v1.36.3", "kubeadm": "v1.36.3"}
    assert facts.kubernetes == Membership("https://10.0.0.10:6443", "aaaa", True)
    record = facts.ledger["container_runtime"]
    assert (record.status, record.inputs) == ("done", "abc=def")
    assert record.drift == (LedgerItem("file", "/etc/containerd/config.toml", "00 644 0:0", "11 644 0:0"),)
    assert record.before == (LedgerItem("file", "/etc/containerd/config.toml", "absent", "11 644 0:0"),)
    assert record.packages == ("containerd", "runc")
    assert facts.owns("file", "/etc/containerd/config.toml")


def test_what_keeps_a_host_as_it_is() -> None:
    """The clock says synchronised by timesyncd's mark, which counts beside chrony's word."""
    facts = parse(GPU_HOST)
    assert (facts.boot_id[:8], facts.own_name, facts.time_synced) == ("0731d9c8", "10.0.0.11", True)
    assert facts.units["containerd.service"] == Unit("enabled", "active", "running", "success", 1699995999.8)
    assert facts.units["chrony.service"] == Unit("disabled", "inactive", "dead", "success")
    assert facts.private == {"/etc/arena-install/registry/tls.key": PrivateFile(0o640, "root", "docker-registry")}
    assert facts.packages == {"nvidia-driver": Package("550.127.05-1", True), "containerd": Package("1.7.24")}
    assert facts.upgrades == Upgrades(True, ("nvidia-",))
    assert facts.drivers == {"runfile": "/usr/bin/nvidia-uninstall", "packages": "nvidia-driver 550.127.05-1"}
    assert facts.runtimes == ("runc", "nvidia")
    assert facts.changed == {"/etc/containerd/config.toml": 1699996000.0}
    assert parse(GPU_HOST.replace("timesync=yes\n", "")).time_synced is False
    assert not parse(GPU_HOST + "apt|APT::Periodic::Enable|0\n").upgrades.automatic


def test_a_bare_answer_is_no_error() -> None:
    facts = parse("@begin n 1\n@end n\n")
    assert facts.privileged is False
    assert facts.kubernetes is None
    assert facts.clock_offset is None


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("virt.container=podman\nvirt.vm=kvm", "container", "podman"),
        ("virt.container=none\nvirt.vm=kvm", "vm", "kvm"),
        ("virt.container=none\nvirt.vm=none", "bare", ""),
        ("", "bare", ""),
    ],
)
def test_virtualisation(text: str, kind: str, name: str) -> None:
    facts = parse(text)
    assert (facts.virt, facts.virt_kind) == (kind, name)


def test_ports_without_ss() -> None:
    facts = parse("tcp|0100007F:280A\ntcp|00000000:192B\ntcp|00000000000000000000000000000000:192B\ntcp|bad")
    assert facts.listening == (Listener(6443, "0.0.0.0"), Listener(10250, "127.0.0.1"))


def test_nvidia_smi_that_fails() -> None:
    facts = parse("smi.status=18\nsmi|Failed to initialize NVML: Driver/library version mismatch\nsmi|NVML 580.95")
    assert facts.nvidia.gpus == ()
    assert facts.nvidia.error == "Failed to initialize NVML: Driver/library version mismatch NVML 580.95"


def test_memberships() -> None:
    assert parse("k8s.other=k3s").kubernetes == Membership(distribution="k3s")
    only_file = "k8s.server='https://a:6443'\nsha256|cc  /etc/kubernetes/pki/ca.crt"
    assert parse(only_file).kubernetes == Membership("https://a:6443", "cc")


def test_clock_samples_cut_each_other() -> None:
    """A slow first reply says little; the second narrows it. busybox's whole seconds widen it."""
    offset, error = clock_offset([["100.0", 90.0, 99.0], ["103.5", 101.9, 102.1]])
    assert offset == pytest.approx(1.5)
    assert error == pytest.approx(0.1)
    offset, error = clock_offset([["100.%N", 100.4, 100.5]])
    assert offset == pytest.approx(0.05)
    assert error == pytest.approx(0.55)
    assert clock_offset([["nonsense", 0.0, 0.0]]) == (None, 0.0)
