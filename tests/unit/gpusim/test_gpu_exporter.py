"""The GPU exporter as it runs on nodes: a process of its own, on the stand-in's NVML, and a kubelet of the test."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena_install import gpu_exporter
from arena_install.verify.payloads import podresources

from .conftest import Machine

HOME = Path(gpu_exporter.__file__).parent
COUNTERS = Path(__file__).parents[3] / "charts/gpu-exporter/files/counters.csv"
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Exporter:
    def __init__(self, machine: Machine, *more: str, counters: Path = COUNTERS) -> None:
        self.port = _free_port()
        self.log = machine.root / "exporter.log"
        path = os.pathsep.join([str(Path(podresources.__file__).parent), *filter(None, sys.path)])
        command = [sys.executable, str(HOME / "main.py"), f"--counters={counters}", f"--port={self.port}", *more]
        self.process = subprocess.Popen(
            command, env={**machine.environment, "PYTHONPATH": path, "NODE_NAME": "w1"}, stderr=self.log.open("w")
        )

    def get(self, path: str = "/metrics") -> str:
        until = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError:
                raise
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
                time.sleep(0.1)

    def samples(self, name: str) -> dict[str, tuple[dict[str, str], float]]:
        """gpu -> labels and value."""
        found = {}
        for line in self.get().splitlines():
            match = _SAMPLE.match(line)
            if match and match[1] == name:
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
                found[labels.get("gpu", "")] = (labels, float(match[3]))
        return found

    def value(self, name: str, gpu: int = 0) -> float:
        return self.samples(name)[str(gpu)][1]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


@pytest.fixture
def exporter(machine: Machine) -> Iterator[Exporter]:
    one = Exporter(machine, f"--pod-resources={machine.root / 'kubelet.sock'}")
    yield one
    one.process.kill()


def test_figures_in_dcgms_units_under_dcgms_labels(machine: Machine, exporter: Exporter) -> None:
    machine.gpusim("set", "gpu=1", "utilization=87", "memory_used_mib=1000", "temperature=71", "power_w=250")
    labels, busy = exporter.samples("DCGM_FI_DEV_GPU_UTIL")["1"]
    uuid = machine.ask("n.nvmlInit(); say(n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(1)))")
    assert busy == 87 and labels == {
        "gpu": "1", "UUID": uuid, "pci_bus_id": "00000000:0F:00.0", "device": "nvidia1",
        "modelName": "NVIDIA A100-SXM4-40GB", "Hostname": "w1", "DCGM_FI_DRIVER_VERSION": "580.95.05",
    }  # fmt: skip
    assert exporter.value("DCGM_FI_DEV_FB_USED", 1) == 1000 and exporter.value("DCGM_FI_DEV_FB_USED", 0) < 1000
    parts = [exporter.value(f"DCGM_FI_DEV_FB_{name}", 1) for name in ("USED", "FREE", "RESERVED")]
    assert sum(parts) == 40960
    assert exporter.value("DCGM_FI_DEV_GPU_TEMP", 1) == 71 and exporter.value("DCGM_FI_DEV_POWER_USAGE", 1) == 250
    assert exporter.value("DCGM_FI_DEV_SLOWDOWN_TEMP", 1) == 89 and exporter.value("DCGM_FI_DEV_MEMORY_TEMP", 1) == 75
    assert exporter.samples("arena_gpu_exporter_pod_resources_up")[""][1] == 0


def test_every_field_of_the_list_is_published(machine: Machine, exporter: Exporter) -> None:
    text = exporter.get()
    for line in COUNTERS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, kind, help = (part.strip() for part in line.split(",", 2))
            assert f"# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{{gpu=" in text
    assert exporter.get("/health") == "ok\n"


def test_errors_and_slowdowns_arrive(machine: Machine, exporter: Exporter) -> None:
    exporter.get()
    machine.gpusim("set", "gpu=2", "ecc_uncorrected=3", "throttle=hw_thermal", "xid=48")
    until = time.monotonic() + 10
    while exporter.value("DCGM_FI_DEV_XID_ERRORS", 2) != 48 and time.monotonic() < until:
        time.sleep(0.1)
    assert exporter.value("DCGM_FI_DEV_XID_ERRORS", 2) == 48 and exporter.value("DCGM_FI_DEV_XID_ERRORS", 1) == 0
    assert exporter.value("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 2) == 3
    assert exporter.value("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 2) == 0x40


def test_a_lost_gpu_keeps_its_xid_and_hides_no_other(machine: Machine, exporter: Exporter) -> None:
    exporter.get()
    machine.gpusim("set", "gpu=1", "fault=lost")
    until = time.monotonic() + 10
    while exporter.value("DCGM_FI_DEV_XID_ERRORS", 1) != 79 and time.monotonic() < until:
        time.sleep(0.1)
    assert exporter.value("DCGM_FI_DEV_XID_ERRORS", 1) == 79
    assert set(exporter.samples("DCGM_FI_DEV_GPU_TEMP")) == {"0", "2", "3"}
    assert exporter.samples("arena_gpu_exporter_gpus")[""][1] == 3
    machine.gpusim("clear")
    assert set(exporter.samples("DCGM_FI_DEV_GPU_TEMP")) == {"0", "1", "2", "3"}


def test_without_a_driver_the_scrape_fails_and_says_why_until_there_is_one(machine: Machine) -> None:
    machine.gpusim("set", "init=driver_not_loaded")
    one = Exporter(machine)
    try:
        with pytest.raises(urllib.error.HTTPError) as error:
            one.get()
        assert error.value.code == 503 and "Driver Not Loaded" in error.value.read().decode()
        machine.gpusim("set", "init=none")
        assert len(one.samples("DCGM_FI_DEV_GPU_TEMP")) == 4
        assert one.stop() == 0
    finally:
        one.process.kill()


def test_a_list_that_is_none_is_refused_with_its_line(machine: Machine) -> None:
    (machine.root / "counters.csv").write_text("# fine\nDCGM_FI_DEV_GPU_UTIL gauge\n")
    one = Exporter(machine, counters=machine.root / "counters.csv")
    assert one.process.wait(20) == 2
    assert "line 2: expected FIELD, gauge or counter, help" in one.log.read_text()


# ---- who holds it ---------------------------------------------------------------------------------------------------


def _field(number: int, value: bytes) -> bytes:
    assert len(value) < 128 * 128
    size = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
    return bytes([number << 3 | 2]) + size + value


def _pod(name: str, namespace: str, container: str, *uuids: str) -> bytes:
    devices = _field(1, b"nvidia.com/gpu") + b"".join(_field(2, uuid.encode()) for uuid in uuids)
    held = _field(1, container.encode()) + _field(2, devices)
    return _field(1, _field(1, name.encode()) + _field(2, namespace.encode()) + _field(3, held))


def serve(path: Path, message: bytes) -> None:
    """A kubelet that answers every call with this list: settings, headers and one data frame."""

    def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
        return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body

    def run() -> None:
        while True:
            connection, _ = server.accept()
            connection.recv(65536)
            body = struct.pack(">BI", 0, len(message)) + message
            # trailers without status: as good as "ok" to who reads the data
            connection.sendall(frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x88") + frame(0, 1, 1, body))
            connection.settimeout(0.5)
            with contextlib.suppress(OSError):  # it acknowledges the settings, and hangs up
                while connection.recv(65536):
                    pass
            connection.close()

    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    threading.Thread(target=run, daemon=True).start()


def test_who_holds_a_gpu_is_told(machine: Machine, exporter: Exporter) -> None:
    ask = "n.nvmlInit(); say([n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(i)) for i in range(4)])"
    uuids = machine.ask(ask)
    assert "pod" not in exporter.samples("DCGM_FI_DEV_GPU_UTIL")["0"][0]
    serve(
        machine.root / "kubelet.sock",
        _pod("train-0", "ml", "main", uuids[0])
        + _pod("a", "x", "c", f"{uuids[2]}::1")
        + _pod("b", "x", "c", f"{uuids[2]}::0"),
    )
    text = exporter.get()
    assert (
        exporter.samples("DCGM_FI_DEV_GPU_UTIL")["0"][0] | {"namespace": "ml", "pod": "train-0", "container": "main"}
        == (exporter.samples("DCGM_FI_DEV_GPU_UTIL")["0"][0])
    )
    assert "pod" not in exporter.samples("DCGM_FI_DEV_GPU_UTIL")["1"][0]
    shared = [line for line in text.splitlines() if line.startswith('DCGM_FI_DEV_GPU_UTIL{gpu="2"')]
    assert ['pod="a"' in shared[0], 'pod="b"' in shared[1], len(shared)] == [True, True, 2]
    assert exporter.samples("arena_gpu_exporter_pod_resources_up")[""][1] == 1
