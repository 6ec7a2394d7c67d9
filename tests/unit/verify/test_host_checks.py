"""Checks that judge what the probe found, each both ways: on hosts as they should be, and with one thing wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.inventory.cluster import Cluster
from arena_install.probe.facts import Disk, Facts, HostFacts, Interface, LedgerItem, LedgerRecord, Nameserver, Os
from arena_install.probe.findings import find
from arena_install.probe.services import PrivateFile, Unit, Upgrades
from arena_install.probe.unreachable import unreachable
from arena_install.verify import registry
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome
from arena_install.verify.session import Session

CONFIG = "/etc/containerd/config.toml"
KUBELET = "ab" * 32
NOW = 4_000_000_000.0  # certificates of the good hosts last until then


def good(name: str, number: int) -> HostFacts:
    record = LedgerItem("file", CONFIG, "x 644 0:0", "x 644 0:0")
    program = LedgerItem("file", "/usr/local/bin/kubelet", f"{KUBELET} 755 0:0", f"{KUBELET} 755 0:0")
    return HostFacts(
        os=Os("debian", "13", "Debian 13"), kernel="6.12.0", arch="x86_64", cpus=8, memory=32000,
        disks=(Disk("/", "/", 200000, 150000),),
        modules={"overlay": "loaded", "br_netfilter": "loaded"},
        sysctls={"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1",
                 "fs.inotify.max_user_instances": "8192", "fs.inotify.max_user_watches": "524288"},
        clock_offset=0.01 * number, clock_error=0.005, time_synced=True, hostname=name, own_name=f"10.0.0.{number}",
        machine_id=f"{number:032d}", boot_id=f"boot-{number}",
        interfaces=(Interface("eth0", f"02:00:00:00:00:0{number}", 1500, True, (f"10.0.0.{number}/24",)),),
        default_interface="eth0", nameservers=(Nameserver("10.0.0.53", "answers"),),
        versions={"containerd": "1.7.24", "kubelet": "v1.36.3"}, runtimes=("runc", "nvidia"),
        units={"containerd.service": Unit("enabled", "active", since=2000.0),
               "chrony.service": Unit("enabled", "active", since=10.0)},
        changed={CONFIG: 1000.0}, certificates={"/var/lib/kubelet/pki/kubelet.crt": NOW},
        private={"/etc/kubernetes/admin.conf": PrivateFile(0o600)}, drivers={"packages": "nvidia-driver 570"},
        ledger={"container_runtime": LedgerRecord("done", items=(record,)),
                "kubernetes_node": LedgerRecord("done", items=(program,))},
    )  # fmt: skip


@pytest.fixture
def judge(session: Session, cluster: Cluster, tmp_path: Path) -> Callable[..., Outcome]:
    """judge(id, **fields of the second host's facts): what that check says."""

    def run(id: str, **changes: Any) -> Outcome:
        hosts = {"lab-cp1": good("lab-cp1", 1), "lab-w1": replace(good("lab-w1", 2), **changes)}
        session.hosts._facts = Facts(hosts, find(cluster, hosts))
        session.resolved = SimpleNamespace(files={"kubelet": SimpleNamespace(sha256=KUBELET, version="v1.36.3")})
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kube: Any = SimpleNamespace(file=kubeconfig)
        session.kube = kube
        check = registry.load()[id]
        return check.run(Context(session, check))

    return run


def sysctl(name: str, value: str) -> dict[str, Any]:
    return {"sysctls": {**good("x", 1).sysctls, name: value}}


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("host.reached", {"privileged": False}, "could not become root"),
    ("host.fit", {"os": Os("debian", "11", "Debian 11")}, "operating system is not supported"),
    ("host.fit", {"memory": 512}, "Too little memory"),
    ("host.clock", {"clock_offset": 5.0}, "ahead of"),
    ("host.clock", {"clock_offset": None}, "could not be read"),
    ("host.time-sync", {"units": {"containerd.service": Unit("enabled", "active")}}, "none is installed"),
    ("host.time-sync", {"time_synced": False}, "has not found the time"),
    ("host.identity", {"machine_id": f"{1:032d}"}, "same machine-id"),
    ("host.kernel", sysctl("net.ipv4.ip_forward", "0"), "net.ipv4.ip_forward is 0"),
    ("host.kernel", {"sysctls": {"net.ipv4.ip_forward": "1"}}, "bridge-nf-call-iptables cannot be read"),
    ("host.kernel", {"swap": 4096}, "Swap is on"),
    ("host.limits", sysctl("fs.inotify.max_user_watches", "8192"), "max_user_watches is 8192"),
    ("host.mtu", {"interfaces": (Interface("eth0", "02:00:00:00:00:02", 1400, True, ("10.0.0.2/24",)),)}, "MTU"),
    ("host.dns", {"nameservers": (Nameserver("192.0.2.1", "silent"),)}, "no reply"),
    ("host.dns", {"own_name": ""}, "own name means nothing"),
    ("host.driver", {"drivers": {"packages": "a", "runfile": "b"}}, "more than one way"),
    ("host.containerd", {"runtimes": ("runc",)}, "no runtime nvidia"),
    ("host.containerd", {"units": {"containerd.service": Unit("enabled", "failed")}}, "containerd does not run"),
    ("host.containerd", {"changed": {CONFIG: 3000.0}}, "older configuration"),
    ("host.programs", {"ledger": {}}, "not in the role's record"),
    ("security.files", {"private": {"/etc/kubernetes/admin.conf": PrivateFile(0o644)}}, "admin.conf is 0644"),
    ("cluster.certificates", {"certificates": {"/etc/kubernetes/pki/apiserver.crt": 1_000_000_000.0}}, "expired"),
]  # fmt: skip


@pytest.mark.parametrize("id", sorted({id for id, *_ in CASES} | {"host.uniform", "host.upgrades"}))
def test_good_hosts_pass(judge: Callable[..., Outcome], id: str) -> None:
    outcome = judge(id)
    assert (outcome.status, outcome.cause) == ("pass", "")
    assert outcome.expected and outcome.observed


@pytest.mark.parametrize(("id", "changes", "cause"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_one_thing_wrong_fails(judge: Callable[..., Outcome], id: str, changes: dict[str, Any], cause: str) -> None:
    outcome = judge(id, **changes)
    assert outcome.status == "fail"
    assert cause in outcome.cause and "lab-w1" in outcome.cause
    assert outcome.fix.startswith("on lab-w1: ") and outcome.observed.endswith("lab-w1")


def test_containerd_that_was_changed_by_hand_fails(judge: Callable[..., Outcome]) -> None:
    item = LedgerItem("file", CONFIG, "x 644 0:0", "y 644 0:0")
    outcome = judge("host.containerd", ledger={"container_runtime": LedgerRecord("done", items=(item,))})
    assert outcome.status == "fail" and f"{CONFIG} (expected as recorded)" in outcome.cause


def test_upgrades_that_move_containerd_fail(judge: Callable[..., Outcome]) -> None:
    from arena_install.probe.services import Package

    loose = {"packages": {"containerd": Package("1.7.24")}, "upgrades": Upgrades(True)}
    assert "may move containerd" in judge("host.upgrades", **loose).cause
    kept = {"packages": {"containerd": Package("1.7.24")}, "upgrades": Upgrades(True, ("containerd",))}
    assert judge("host.upgrades", **kept).status == "pass"


def test_a_program_of_another_make_fails(judge: Callable[..., Outcome]) -> None:
    item = LedgerItem("file", "/usr/local/bin/kubelet", f"{KUBELET} 755 0:0", "cd" * 32 + " 755 0:0")
    outcome = judge("host.programs", ledger={"kubernetes_node": LedgerRecord("done", items=(item,))})
    assert outcome.status == "fail" and "kubelet is cdcdcdcd" in outcome.cause


def test_a_host_out_of_reach_is_told_with_its_reason(session: Session) -> None:
    lost = unreachable(
        "timeout", "", {"name": "lab-w1", "address": "lab-w1", "port": "22", "user": "root", "timeout": "3"}
    )
    session.hosts._facts = Facts({"lab-cp1": good("lab-cp1", 1), "lab-w1": lost})
    check = registry.load()["host.reached"]
    outcome = check.run(Context(session, check))
    assert outcome.status == "fail" and outcome.cause.startswith("lab-w1: ")


def test_containers_have_no_clock_of_their_own(judge: Callable[..., Outcome]) -> None:
    inside: dict[str, Any] = {"virt": "container", "units": {"containerd.service": Unit("enabled", "active")}}
    assert "1 containers have the clock" in judge("host.time-sync", **inside).observed


def test_hosts_of_a_group_that_differ() -> None:
    from arena_install.verify.checks.host import odd

    rows = {name: {"kernel": "6.12.0", "containerd": "1.7.24"} for name in ("w1", "w2", "w3")}
    assert odd("worker", rows) == []
    rows["w2"] = {"kernel": "5.10.0", "containerd": "1.7.24"}
    assert [(f.host, f.observed, f.expected) for f in odd("worker", rows)] == [("w2", "5.10.0", "6.12.0")]
    two = {name: rows[name] for name in ("w2", "w3")}  # one each: the rest of the cluster decides
    assert [f.host for f in odd("worker", two, rows)] == ["w2"]


def test_an_image_disk_about_to_be_cleared() -> None:
    from arena_install.verify.checks.host_software import headroom

    def summary(free: int) -> dict[str, Any]:
        return {"runtime": {"imageFs": {"capacityBytes": 100 << 30, "availableBytes": free << 30}}}

    settings = {"imageGCHighThresholdPercent": 85, "evictionHard": {"imagefs.available": "5%"}}
    row, problem = headroom("w1", settings, summary(40))
    assert (row["used_percent"], row["free_gib"], problem) == (60.0, 40.0, None)
    row, problem = headroom("w1", settings, summary(17))
    assert problem is not None and problem.observed == "the disk of images is 83% full"


def test_every_finding_of_the_probe_is_told_by_one_check() -> None:
    """So that nothing the probe knows is lost in the report; what is worth knowing only is no failure."""
    installer = Path(__file__).parents[3] / "installer/arena_install"
    pattern = r'(?:Finding\(|_same\(\s*reached,)\s*"([a-z-]+)"'
    known = {
        id for name in ("findings", "across", "upkeep") for id in re.findall(pattern, _read(installer, f"probe/{name}"))
    }
    text = "".join(
        _read(installer, f"verify/checks/{name}") for name in ("host", "host_software", "security", "cluster_hosts")
    )
    text = text.replace(
        'f"{what}-duplicate"', '"machine-id-duplicate", "hostname-duplicate", "mac-duplicate", "product-uuid-duplicate"'
    )
    told = {id: len(re.findall(f'"{id}"', text)) for id in known - {"containerd-foreign"}}
    assert {id: count for id, count in told.items() if count != 1} == {}


def _read(folder: Path, name: str) -> str:
    return (folder / f"{name}.py").read_text()
