"""The library as NVML clients see it, through nvidia-ml-py."""

from __future__ import annotations

import tarfile
import threading
from pathlib import Path

import pytest

from .conftest import VERSION, Machine

ERROR = """
def code(call, *arguments):
    try:
        call(*arguments)
    except n.NVMLError as error:
        return error.value
    return 0
"""
UUIDS = (
    "n.nvmlInit(); count = n.nvmlDeviceGetCount()\n"
    "say([n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(i)) for i in range(count)])"
)


def test_archive_says_nothing_of_when_and_by_whom_it_was_built(built: Path) -> None:
    with tarfile.open(built / "one.tar") as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == sorted(
        (m.name for m in members), key=lambda name: name.split("/")[1] == "bin"
    )
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}


def test_answers_what_a_monitor_asks(machine: Machine) -> None:
    machine.gpusim("set", "gpu=1", "temperature=71", "power_w=250", "utilization=90", "memory_used_mib=1024")
    seen = machine.ask(
        "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(1); m = n.nvmlDeviceGetMemoryInfo(h)\n"
        "p = n.nvmlDeviceGetPciInfo(h)\n"
        "m2 = n.nvmlDeviceGetMemoryInfo(h, version=n.nvmlMemory_v2)\n"
        "say([n.nvmlSystemGetDriverVersion(), n.nvmlSystemGetCudaDriverVersion(), n.nvmlDeviceGetName(h),"
        " m.total >> 20, m.used >> 20, m2.total >> 20, p.busId, n.nvmlDeviceGetTemperature(h, 0),"
        " n.nvmlDeviceGetPowerUsage(h), n.nvmlDeviceGetUtilizationRates(h).gpu,"
        " n.nvmlDeviceGetCudaComputeCapability(h),"
        " n.nvmlDeviceGetMinorNumber(h)])"
    )
    assert seen == [
        VERSION,
        13000,
        "NVIDIA A100-SXM4-40GB",
        40960,
        1024,
        40960,
        "00000000:0F:00.0",
        71,
        250000,
        90,
        [8, 0],
        1,
    ]


def test_memory_errors_and_throttling_show(machine: Machine) -> None:
    machine.gpusim(
        "set",
        "gpu=3",
        "ecc_uncorrected=2",
        "remapped_uncorrectable=1",
        "remap_pending=1",
        "throttle=hw_slowdown,hw_thermal",
    )
    seen = machine.ask(
        "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(3)\n"
        "say([n.nvmlDeviceGetTotalEccErrors(h, 1, 0), n.nvmlDeviceGetRemappedRows(h),"
        " n.nvmlDeviceGetCurrentClocksEventReasons(h), n.nvmlDeviceGetFieldValues(h, [144])[0].value.uiVal])"
    )
    assert seen == [2, [0, 1, 1, 0], 0x48, 1]


def test_settings_of_a_gpu_show(machine: Machine) -> None:
    ask = (
        ERROR + "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(1)\n"
        "say([n.nvmlDeviceGetVbiosVersion(h), n.nvmlDeviceGetPersistenceMode(h), n.nvmlDeviceGetEccMode(h),"
        " code(n.nvmlDeviceGetTotalEccErrors, h, 1, 0), code(n.nvmlDeviceValidateInforom, h),"
        " [p.pid for p in n.nvmlDeviceGetComputeRunningProcesses(h)]])"
    )
    assert machine.ask(ask) == ["00.00.00.00.00", 1, [1, 1], 0, 0, []]
    machine.gpusim(
        "set", "gpu=1", "vbios=92.00.45.00.03", "persistence=0", "ecc=0", "inforom_corrupted=1", "process=4711"
    )
    assert machine.ask(ask) == ["92.00.45.00.03", 0, [0, 0], 3, 14, [4711]]
    machine.gpusim("clear")
    assert machine.ask(ask) == ["92.00.45.00.03", 1, [1, 1], 0, 0, []], "an identity stays, a setting does not"


def test_links_show(machine: Machine) -> None:
    ask = (
        ERROR + "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(2)\n"
        "links = [i for i in range(18) if not code(n.nvmlDeviceGetNvLinkState, h, i)]\n"
        "say([[n.nvmlDeviceGetNvLinkState(h, i) for i in links],"
        " [n.nvmlDeviceGetNvLinkErrorCounter(h, i, n.NVML_NVLINK_ERROR_DL_CRC_FLIT) for i in links],"
        " code(n.nvmlDeviceGetNvLinkState, h, 0), code(n.nvmlDeviceGetNvLinkState, h, 12)])"
    )
    assert machine.ask(ask) == [[1] * 12, [0] * 12, 0, 2]
    machine.gpusim("set", "gpu=2", "nvlink_down=2", "nvlink_errors=7")
    assert machine.ask(ask) == [[1] * 10 + [0] * 2, [7] * 12, 0, 2]
    machine.gpusim("set", "gpu=2", "model=NVIDIA L4")
    assert machine.ask(ask) == [[], [], 3, 3], "no such links: not supported"


def test_links_lead_to_no_gpu(machine: Machine) -> None:
    """A link from one side only makes the device plugin's allocator panic as soon as a pod asks for several GPUs."""
    machine.gpusim("set", "count=16")
    for minor in range(4, 16):
        (machine.root / "dev" / f"nvidia{minor}").touch()
    gpus, others = machine.ask(
        "n.nvmlInit(); all = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]\n"
        "say([[n.nvmlDeviceGetPciInfo(h).bus for h in all],"
        " [n.nvmlDeviceGetNvLinkRemotePciInfo(h, link).bus for h in all for link in range(12)]])"
    )
    assert len(set(gpus)) == 16
    assert not set(gpus) & set(others)


def test_old_gpus_retire_pages_and_new_ones_remap_rows(machine: Machine) -> None:
    machine.gpusim("set", "gpu=0", "model=Tesla T4", "retired_pending=1", "gpu=1", "retired_pending=1")
    seen = machine.ask(
        ERROR + "n.nvmlInit(); old, new = (n.nvmlDeviceGetHandleByIndex(i) for i in (0, 1))\n"
        "say([n.nvmlDeviceGetRetiredPagesPendingStatus(old), code(n.nvmlDeviceGetRemappedRows, old),"
        " code(n.nvmlDeviceGetRetiredPagesPendingStatus, new), code(n.nvmlDeviceGetRemappedRows, new)])"
    )
    assert seen == [1, 3, 3, 0]


@pytest.mark.parametrize(
    "model, memory, capability", [("Tesla T4", 15360, [7, 5]), ("NVIDIA H100 80GB HBM3", 81559, [9, 0])]
)
def test_model_decides_the_figures(machine: Machine, model: str, memory: int, capability: list[int]) -> None:
    machine.gpusim("set", f"model={model}")
    assert machine.ask(
        "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0)\n"
        "say([n.nvmlDeviceGetName(h), n.nvmlDeviceGetMemoryInfo(h).total >> 20,"
        " n.nvmlDeviceGetCudaComputeCapability(h)])"
    ) == [model, memory, capability]


def test_identities_are_stable_and_differ_between_hosts(machine: Machine) -> None:
    first = machine.ask(UUIDS)
    assert len(set(first)) == 4
    assert machine.ask(UUIDS) == first
    machine.gpusim("set", "count=2")
    assert machine.ask(UUIDS) == first[:2]
    machine.gpusim("set", "count=4", "seed=another-host")
    assert not set(machine.ask(UUIDS)) & set(first)


def test_only_gpus_with_a_device_node_are_seen(machine: Machine) -> None:
    whole = machine.ask(UUIDS)
    (machine.root / "dev" / "nvidia0").unlink()
    (machine.root / "dev" / "nvidia2").unlink()
    assert machine.ask(UUIDS) == [whole[1], whole[3]]
    missing = machine.ask(
        ERROR + f"n.nvmlInit(); say(code(n.nvmlDeviceGetHandleByUUID, {whole[0]!r}.encode()))"
    )
    assert missing == 6  # not found


@pytest.mark.parametrize(
    "change, code",
    [
        (["init=driver_not_loaded"], 9),
        (["init=unknown"], 999),
        (["init=library_mismatch"], 18),
        (["driver_version=570.1.2"], 18),
    ],
)
def test_init_fails_as_told(machine: Machine, change: list[str], code: int) -> None:
    machine.gpusim("set", *change)
    assert machine.ask(ERROR + "say(code(n.nvmlInit))") == code


def test_without_control_node_or_state_there_is_no_driver(machine: Machine) -> None:
    (machine.root / "dev" / "nvidiactl").unlink()
    assert machine.ask(ERROR + "say(code(n.nvmlInit))") == 9
    (machine.root / "dev" / "nvidiactl").touch()
    machine.state.unlink()
    assert machine.ask(ERROR + "say(code(n.nvmlInit))") == 9


@pytest.mark.parametrize("fault, code", [("lost", 15), ("reset_required", 16), ("unknown", 999)])
def test_a_fault_reaches_a_running_process_and_leaves_with_clear(
    machine: Machine, fault: str, code: int
) -> None:
    process = machine.start(
        ERROR + "n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(2); say('ready')\n"
        "import sys, time\n"
        "def until(wanted):\n"
        "    end = time.time() + 10\n"
        "    while code(n.nvmlDeviceGetTemperature, h, 0) != wanted and time.time() < end: time.sleep(0.02)\n"
        "    say([code(n.nvmlDeviceGetTemperature, h, 0), code(n.nvmlDeviceGetHandleByIndex, 2),"
        " code(n.nvmlDeviceGetUUID, h)])\n"
        f"until({code}); until(0)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == '"ready"\n'
    machine.gpusim("set", "gpu=2", f"fault={fault}")
    assert process.stdout.readline() == f"[{code}, {code}, 0]\n"
    machine.gpusim("clear", "gpu=2")
    assert process.stdout.readline() == "[0, 0, 0]\n"
    assert process.wait(10) == 0


def test_xids_reach_who_waits_in_order_and_once(machine: Machine) -> None:
    machine.gpusim("set", "gpu=0", "xid=13")  # before anybody registered: not delivered
    process = machine.start(
        "n.nvmlInit(); s = n.nvmlEventSetCreate()\n"
        "for i in (0, 2):\n"
        "    n.nvmlDeviceRegisterEvents(n.nvmlDeviceGetHandleByIndex(i), n.nvmlEventTypeXidCriticalError, s)\n"
        "say('ready')\n"
        "for _ in range(3):\n"
        "    e = n.nvmlEventSetWait_v2(s, 10000)\n"
        "    say([n.nvmlDeviceGetMinorNumber(e.device), e.eventType, e.eventData])\n"
        "try: n.nvmlEventSetWait_v2(s, 150)\n"
        "except n.NVMLError as error: say(error.value)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == '"ready"\n'
    machine.gpusim("set", "gpu=1", "xid=48")  # not registered
    machine.gpusim("set", "gpu=0,2", "xid=94")
    machine.gpusim("set", "gpu=2", "fault=lost")  # says XID 79 by itself
    out, _ = process.communicate(timeout=15)
    assert out.splitlines() == ["[0, 8, 94]", "[2, 8, 94]", "[2, 8, 79]", "10"]


def test_nothing_that_can_be_asked_crashes(machine: Machine) -> None:
    """Every one-argument call of the bindings either answers or says that it is not supported."""
    odd = machine.ask(
        ERROR + "import inspect; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0); odd = []\n"
        "for name, call in sorted(vars(n).items()):\n"
        "    if not (name.startswith('nvmlDeviceGet') and inspect.isfunction(call)) or 'Handle' in name: continue\n"
        "    if len([p for p in inspect.signature(call).parameters.values() if p.default is p.empty]) != 1: continue\n"
        "    if code(call, h) not in (0, 3, 13, 2) and 'Count' not in name: odd.append(name)\n"
        "say(odd)"
    )
    assert odd == []


def test_calls_before_init_are_refused(machine: Machine) -> None:
    assert machine.ask(ERROR + "n.nvmlInit(); n.nvmlShutdown(); say(code(n.nvmlDeviceGetCount))") == 1


def test_readers_never_see_a_half_written_state(machine: Machine) -> None:
    process = machine.start(
        "import threading, time; n.nvmlInit(); bad = []; stop = time.time() + 2\n"
        "def look():\n"
        "    h = n.nvmlDeviceGetHandleByIndex(3)\n"
        "    while time.time() < stop:\n"
        "        pair = n.nvmlDeviceGetTemperature(h, 0), n.nvmlDeviceGetCount()\n"
        "        if pair not in ((40, 4), (90, 4)): bad.append(pair)\n"
        "machine = [threading.Thread(target=look) for _ in range(4)]\n"
        "say('ready')\n"
        "for t in machine: t.start()\n"
        "for t in machine: t.join()\n"
        "say(bad)"
    )
    machine.gpusim("set", "gpu=3", "temperature=40")
    assert process.stdout is not None
    process.stdout.readline()
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            machine.gpusim("set", "gpu=3", "temperature=90", "gpu=0", "ecc_corrected=123456")
            machine.gpusim("set", "gpu=3", "temperature=40", "gpu=0", "ecc_corrected=1")

    writer = threading.Thread(target=write)
    writer.start()
    out, _ = process.communicate(timeout=20)
    ended.set()
    writer.join()
    assert out.splitlines()[-1] == "[]"


def test_cuda_counts_and_refuses_to_compute(machine: Machine) -> None:
    machine.gpusim("set", "gpu=0", "fault=lost")
    assert machine.ask(
        "import ctypes as c; cuda = c.CDLL('libcuda.so.1'); v, k = c.c_int(), c.c_int()\n"
        "name = c.create_string_buffer(96)\n"
        "say([cuda.cuInit(0), cuda.cuDriverGetVersion(c.byref(v)), v.value, cuda.cuDeviceGetCount(c.byref(k)), k.value,"
        " cuda.cuDeviceGetName(name, 96, 2), name.value.decode(), cuda.cuDevicePrimaryCtxRetain(None, 0),"
        " hasattr(cuda, 'cuLaunchKernel')])"
    ) == [0, 0, 13000, 0, 3, 0, "NVIDIA A100-SXM4-40GB", 801, False]
