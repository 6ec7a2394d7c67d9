"""Suite gpu on what a node's tools said, recorded in a lab: as it was it passes, and each fault is found and named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arena_install.errors import TimedOutError
from arena_install.verify import xids
from arena_install.verify.checks import gpu_health, gpu_host
from arena_install.verify.context import Context
from arena_install.verify.health import Health, parse, xid_of
from arena_install.verify.model import Outcome
from arena_install.verify.registry import load
from arena_install.verify.session import Session

RECORDED = json.loads((Path(__file__).parent / "recorded/health.json").read_text())
XID = "2026-11-22T22:59:05+0000 w1 kernel[7409]: NVRM: Xid (PCI:0000:0f:00): {}, pid='<unknown>', name=<unknown>"

Change = Callable[[dict[str, Any]], object]


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "status": {"addresses": []}}


def record(change: Change | None = None, *, host: int = 0) -> Health:
    """The recorded node, changed; host 1 is another one of the same kind."""
    seen = copy.deepcopy(RECORDED)
    for gpu in seen["gpus"] if host else ():
        gpu["uuid"] = gpu["uuid"][:-1] + "x"
        gpu["serial"] = "1" + gpu["serial"]
    if host:
        seen["toolkit"]["devices"] = [n[:-1] + "x" if n.startswith("GPU-") else n for n in seen["toolkit"]["devices"]]
    if change:
        change(seen)
    return parse(seen)


def gpu(**fields: Any) -> Change:
    """Change the node's GPU 1."""
    return lambda seen: seen["gpus"][1].update(fields)


@pytest.fixture
def run(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """run(check id, node's health...) on nodes lab-w1, w2, ...; held: UUIDs that pods hold."""

    def one(id: str, *healths: Health, held: tuple[str, ...] = (), resolved: Any = None) -> Outcome:
        names = ["lab-w1", "w2", "w3"][: len(healths)]
        session.resolved = resolved
        view = SimpleNamespace(assigned={("space", "pod"): held}, links={"runtime": True})
        readers: Any = SimpleNamespace(
            start=lambda *_: None,
            health=lambda _, name: dict(zip(names, healths, strict=True))[name],
            view=lambda *_: view,
        )
        monkeypatch.setattr(session, "readers", readers)
        monkeypatch.setattr(session, "gpu_nodes", lambda: [node(name) for name in names])
        check = load()[id]
        return check.run(Context(session, check))

    return one


GPU_CHECKS = (
    "gpu.nvidia-smi", "gpu.driver", "gpu.toolkit", "gpu.xid", "gpu.uniform", "gpu.memory", "gpu.clocks",
    "gpu.persistence", "gpu.nvlink", "gpu.idle", "gpu.pcie", "gpu.module",
)  # fmt: skip


@pytest.mark.parametrize("id", GPU_CHECKS)
def test_a_healthy_pair_of_nodes_passes(run: Callable[..., Outcome], id: str) -> None:
    outcome = run(id, record(), record(host=1))
    assert outcome.status == "pass", outcome
    assert outcome.expected and outcome.observed


def link(**now: int) -> dict[str, int]:
    return {"gen": 4, "gen_max": 4, "width": 16, "width_max": 16} | now


def lost(seen: dict[str, Any]) -> None:
    seen["smi"] = {
        "code": 15,
        "output": "| NVIDIA-SMI |\nUnable to determine the device handle for GPU1: GPU is lost.  Reboot\n+--+",
    }
    seen["gpus"][1] = {"index": 1, "error": "GPU is lost"}


def cdi_without_last(seen: dict[str, Any]) -> None:
    last = seen["gpus"][3]["uuid"]
    seen["toolkit"]["devices"] = [name for name in seen["toolkit"]["devices"] if name not in ("3", last)]


@pytest.mark.parametrize(
    ("id", "change", "cause", "fix"),
    [
        ("gpu.nvidia-smi", lost, "exit code 15: a GPU has fallen off the bus (Unable to determine", "dmesg"),
        ("gpu.nvidia-smi", lambda s: s.update(smi={"code": 9, "output": ""}), "not loaded", "modprobe nvidia"),
        ("gpu.nvidia-smi", lambda s: s.update(smi={"code": 77, "output": "?"}), "exit code 77", "nvidia-smi"),
        (
            "gpu.driver",
            lambda s: s["versions"].update(cuda="570.86.15"),
            "lab-w1: libcuda is 570.86.15, the kernel module is 580.95.05",
            "reboot",
        ),
        (
            "gpu.driver",
            lambda s: s.update(versions=dict.fromkeys(("module", "nvml", "cuda"), "570.86.15")),
            "drivers differ: 570.86.15 on lab-w1; 580.95.05 on w2",
            "up",
        ),
        ("gpu.toolkit", cdi_without_last, "lab-w1: CDI describes 3 GPUs, NVML lists 4", "arena-nvidia-cdi"),
        ("gpu.toolkit", lambda s: s["toolkit"].update(error="no such file"), "lab-w1: no such file", "nvidia-ctk"),
        ("gpu.xid", lambda s: s["journal"].update(lines=[XID.format(79)]), "XID 79 of GPU 0000:0f:00", "power-cycle"),
        ("gpu.xid", lambda s: s["journal"].update(lines=[XID.format(12345)]), "not in our table", "XID table"),
        ("gpu.xid", lambda s: s["journal"].update(error="no journal files"), "no journal files", "journalctl"),
        (
            "gpu.uniform",
            gpu(name="NVIDIA A10"),
            "lab-w1: has GPUs of several models: NVIDIA A10, NVIDIA A100",
            "serial",
        ),
        ("gpu.uniform", gpu(vbios="92.00.45"), "VBIOS versions: lab-w1 00.00.00.00.00 and 92.00.45, w2 00.00", "vbios"),
        ("gpu.uniform", gpu(memory_mib=81920), "MiB of memory: lab-w1 40960 and 81920, w2 40960", "memory"),
        ("gpu.uniform", lambda s: s["gpus"].pop(), "NVIDIA A100-SXM4-40GB: lab-w1 has 3, w2 has 4", "compare"),
        ("gpu.memory", gpu(ecc=False), "lab-w1: GPU 1: ECC is off", "nvidia-smi -i 1 -e 1"),
        ("gpu.memory", gpu(uncorrected=2), "2 uncorrected memory errors", "nvidia-smi -i 1 -r"),
        ("gpu.memory", gpu(remap_pending=True), "a remapped row waits", "-r"),
        ("gpu.memory", gpu(remap_failure=True), "could not be remapped", "exchanged"),
        ("gpu.memory", gpu(retired_pending=1), "a retired page waits", "-r"),
        ("gpu.clocks", gpu(throttle=0x48), "GPU 1: hardware slowdown\nlab-w1: GPU 1: hardware thermal", "fans"),
        ("gpu.clocks", gpu(temperature=93), "93 °C, slows down at 89 °C", "fans"),
        ("gpu.persistence", gpu(persistence=0), "GPU 1: persistence mode is off", "nvidia-persistenced"),
        ("gpu.nvlink", gpu(links=[True] * 10 + [False] * 2), "2 of 12 links are down: 10, 11", "fabricmanager"),
        ("gpu.nvlink", gpu(links=[False] * 12), "12 of 12 links are down", "fabricmanager"),
        ("gpu.nvlink", gpu(link_errors=7), "7 CRC errors", "nvlink"),
        (
            "gpu.nvlink",
            lambda s: s.update(switches={"count": 6}),
            "lab-w1: 6 NVSwitches, and no fabric manager runs",
            "fabricmanager",
        ),
        (
            "gpu.nvlink",
            lambda s: s.update(switches={"count": 6, "running": True, "version": "570.86.15"}),
            "lab-w1: the fabric manager is 570.86.15, the driver 580.95.05",
            "fabricmanager",
        ),
        ("gpu.nvlink", gpu(fabric=2), "lab-w1: GPU 1 has not joined the fabric of its switches", "fabricmanager"),
        ("gpu.pcie", gpu(pcie=link(width=8)), "lab-w1: GPU 1: its PCIe link has lanes 8 of 16", "lspci"),
        ("gpu.pcie", gpu(pcie=link(gen=1), throttle=0), "GPU 1: its PCIe link has generation 1 of 4", "lspci"),
        ("gpu.pcie", gpu(pcie=link(width=8, width_max=8)), "its slot has 8 PCIe lanes, that of others of this", "slot"),
        (
            "gpu.module",
            lambda s: s.update(flavour="proprietary"),
            "kernel modules differ: open on w2; proprietary on lab-w1",
            "nvidia-open",
        ),
        ("gpu.module", gpu(architecture=5), "lab-w1: the open kernel module does not drive GPUs older", "reboot"),
    ],
)
def test_a_fault_is_found_and_named(run: Callable[..., Outcome], id: str, change: Change, cause: str, fix: str) -> None:
    outcome = run(id, record(change), record(host=1))
    assert outcome.status == "fail"
    assert cause in outcome.cause
    assert fix in outcome.fix
    assert "{" not in outcome.fix and "None" not in outcome.cause


def test_blackwell_is_driven_by_the_open_module_alone(run: Callable[..., Outcome]) -> None:
    def blackwell(seen: dict[str, Any]) -> None:
        for one in seen["gpus"]:
            one.update(architecture=10)

    assert run("gpu.module", record(blackwell)).status == "pass"
    outcome = run("gpu.module", record(lambda seen: (blackwell(seen), seen.update(flavour="proprietary"))))
    assert "the proprietary kernel module does not drive GPUs of this generation" in outcome.cause


def test_a_gpu_that_rests_may_slow_its_link_down(run: Callable[..., Outcome]) -> None:
    assert run("gpu.pcie", record(gpu(pcie=link(gen=1), throttle=1))).status == "pass"


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("gpu.module", lambda seen: seen.pop("flavour")),
        ("gpu.pcie", lambda seen: [one.pop("pcie") for one in seen["gpus"]]),
    ],
)
def test_what_nobody_tells_is_skipped_and_no_pass(run: Callable[..., Outcome], id: str, change: Change) -> None:
    assert run(id, record(change)).status == "skip"
    assert not load()[id].required


def test_two_gpus_are_never_one(run: Callable[..., Outcome]) -> None:
    outcome = run("gpu.uniform", record(), record())
    assert outcome.status == "fail"
    assert "lab-w1: GPU 0 and w2: GPU 0 have one uuid" in outcome.cause
    assert "have one serial" in outcome.cause


def test_hosts_with_other_gpus_are_no_fault(run: Callable[..., Outcome]) -> None:
    def other(seen: dict[str, Any]) -> None:
        seen["gpus"] = [one | {"name": "NVIDIA L4", "serial": "0", "links": []} for one in seen["gpus"][:2]]

    outcome = run("gpu.uniform", record(), record(other, host=1))
    assert outcome.status == "pass"
    assert outcome.data["kinds"] == {"NVIDIA A100-SXM4-40GB": 4, "NVIDIA L4": 2}


def test_no_links_is_no_fault_but_no_pass_either(run: Callable[..., Outcome]) -> None:
    def bridges(seen: dict[str, Any]) -> None:
        for one in seen["gpus"]:
            one.update(name="NVIDIA H100 PCIe", links=[False] * 18)

    outcome = run("gpu.nvlink", record(bridges))
    assert outcome.status == "skip"
    assert not load()["gpu.nvlink"].required


def test_programs_errors_are_told_and_forgiven(run: Callable[..., Outcome]) -> None:
    outcome = run("gpu.xid", record(lambda seen: seen["journal"].update(lines=[XID.format(31), XID.format(13)])))
    assert outcome.status == "pass"
    assert "2 that programs caused" in outcome.observed


def test_a_version_that_is_not_the_locks(run: Callable[..., Outcome]) -> None:
    locked = SimpleNamespace(files={"nvidia-ctk": SimpleNamespace(version="v1.19.0")})
    outcome = run("gpu.toolkit", record(), resolved=locked)
    assert "nvidia-ctk is 1.20.1, the lock says 1.19.0" in outcome.cause
    locked.files["nvidia-ctk"].version = "v1.20.1"
    assert run("gpu.toolkit", record(), resolved=locked).status == "pass"


def test_the_inventory_may_name_the_driver() -> None:
    seen = {"w1": record()}
    assert gpu_host.driver_problems(seen, {"w1": "580"}) == []
    assert gpu_host.driver_problems(seen, {"w1": "580.95.05"}) == []
    assert gpu_host.driver_problems(seen, {"w1": "58"}) == ["w1: the driver is 580.95.05, the inventory wants 58"]


def test_a_stray_process_is_found_where_no_pod_holds_the_gpu(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(self: Context, look: Callable[[], object], what: str, **_: object) -> object:
        if (found := look()) is None:
            raise TimedOutError(what)
        return found

    monkeypatch.setattr(Context, "wait", give_up)
    busy = record(gpu(processes=[4711], memory_used_mib=300))
    outcome = run("gpu.idle", busy)
    assert outcome.status == "fail"
    assert "lab-w1: GPU 1: in use by process 4711 (300 MiB), held by no pod" in outcome.cause
    assert run("gpu.idle", busy, held=(busy.gpus[1].uuid,)).status == "pass"


def test_lines_of_the_journal() -> None:
    one = xid_of(XID.format(79))
    assert one and (one.number, one.bus, one.when) == (79, "0000:0f:00", "2026-11-22T22:59:05+0000")
    real = "2026-01-01T10:00:00+0100 gpu7 kernel: NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: New row marked"
    assert (one := xid_of(real)) and one.text.startswith("Row Remapper")
    assert xid_of("2026-01-01T10:00:00+0100 gpu7 kernel: NVRM: loading NVIDIA UNIX") is None


def test_every_known_xid_has_a_meaning_and_is_of_one_kind() -> None:
    assert not set(xids.HARMLESS) & set(xids.SERIOUS)
    assert all(xids.meaning(number) and xids.remedy(number) for number in (*xids.HARMLESS, *xids.SERIOUS, 1))


def test_gpus_that_nvml_cannot_ask_are_left_to_nvidia_smi(run: Callable[..., Outcome]) -> None:
    assert run("gpu.memory", record(lost)).status == "pass"
    assert gpu_health.link_problems(record().gpus[0]) == []
