"""nvidia-smi and gpusim, as typed, and the unmodified programs that stand on NVML."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import VERSION, Machine

FIRMWARE = f"usr/lib/firmware/nvidia/{VERSION}"


def test_table_says_that_it_is_simulated(machine: Machine) -> None:
    done = machine.smi()
    assert done.returncode == 0
    assert "SIMULATED GPU" in done.stdout
    assert {len(line) for line in done.stdout.splitlines() if line.startswith(("|", "+"))} == {91}


def test_list_and_query(machine: Machine) -> None:
    machine.gpusim("set", "gpu=1", "memory_used_mib=512", "remap_pending=1")
    assert [line.split(" (")[0] for line in machine.smi("-L").stdout.splitlines()] == [
        f"GPU {i}: NVIDIA A100-SXM4-40GB" for i in range(4)
    ]
    done = machine.smi(
        "-i", "1", "--query-gpu=index,memory.used,power.draw,remapped_rows.pending,fan.speed", "--format=csv"
    )
    assert done.stdout.splitlines() == [
        "index, memory.used [MiB], power.draw [W], remapped_rows.pending, fan.speed [%]",
        "1, 512 MiB, 52.00 W, Yes, [N/A]",
    ]
    bare = machine.smi("--query-gpu=memory.total", "--format=csv,noheader,nounits")
    assert bare.stdout == "40960\n" * 4
    assert f"Driver Version                            : {VERSION}" in machine.smi("-q").stdout


@pytest.mark.parametrize(
    "change, code, says",
    [
        (["init=driver_not_loaded"], 9, "couldn't communicate with the NVIDIA driver"),
        (["driver_version=570.1.2"], 18, f"Driver/library version mismatch\nNVML library version: {VERSION}"),
        (["gpu=2", "fault=lost"], 15, "Unable to determine the device handle for GPU2: GPU is lost"),
        (["count=0"], 6, "No devices were found"),
        (["gpu=3", "inforom_corrupted=1"], 14, "WARNING: infoROM is corrupted at gpu 00000000:4E:00.0"),
    ],
)
def test_exit_codes(machine: Machine, change: list[str], code: int, says: str) -> None:
    machine.gpusim("set", *change)
    done = machine.smi()
    assert (done.returncode, says in done.stdout) == (code, True), done.stdout


def test_a_process_is_shown(machine: Machine) -> None:
    assert "No running processes found" in machine.smi().stdout
    machine.gpusim("set", "gpu=1", "process=4711", "memory_used_mib=300", "persistence=0")
    shown = machine.smi().stdout
    assert "No running processes found" not in shown
    assert [line.split()[1:5] for line in shown.splitlines() if "4711" in line] == [["1", "N/A", "N/A", "4711"]]
    assert "40GB Off" in " ".join(shown.split())
    assert {len(line) for line in shown.splitlines() if line.startswith(("|", "+"))} == {91}
    assert "Process ID" in machine.smi("-q", "-i", "1").stdout


@pytest.mark.parametrize(
    "arguments", [["--query-gpu=nonsense", "--format=csv"], ["--query-gpu=index"], ["--bogus"]]
)
def test_bad_arguments(machine: Machine, arguments: list[str]) -> None:
    assert machine.smi(*arguments).returncode == 2


def test_missing_library(machine: Machine) -> None:
    (machine.root / "lib").unlink()
    done = machine.smi()
    assert (done.returncode, "couldn't find libnvidia-ml.so" in done.stdout) == (12, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["gpu=9", "fault=lost"],
        ["gpu=1", "fault=nonsense"],
        ["count=99"],
        ["gpu=1", "temperature=hot"],
        ["temperature=50"],
        ["xid=79"],
        ["gpu=1", "bogus=1"],
        ["gpu=1", "xid=-"],
        ["gpu=1", "model=" + "x" * 200],
    ],
)
def test_bad_values_are_refused_and_change_nothing(machine: Machine, arguments: list[str]) -> None:
    before = machine.state.read_text()
    done = machine.run("gpusim", "set", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("gpusim: ")
    assert machine.state.read_text() == before


def test_init_leaves_a_state_that_is_there(machine: Machine) -> None:
    machine.gpusim("set", "gpu=1", "temperature=80")
    before = machine.state.read_text()
    machine.gpusim("init", "count=2")
    assert machine.state.read_text() == before


def test_the_file_is_rewritten_in_place(machine: Machine) -> None:
    """Containers see it through a bind mount of the file itself."""
    inode = machine.state.stat().st_ino
    machine.gpusim("set", "gpu=all", "temperature=80")
    machine.gpusim("clear")
    assert machine.state.stat().st_ino == inode


def test_clear_keeps_what_is_not_a_fault(machine: Machine) -> None:
    machine.gpusim("set", "gpu=1", "model=Tesla T4", "temperature=99", "fault=lost", "ecc_uncorrected=3")
    machine.gpusim("set", "init=unknown")
    machine.gpusim("clear")
    lines = machine.run("gpusim", "show", "gpu=1").stdout.splitlines()
    assert lines == ["gpu.1.model=Tesla T4"]
    assert machine.smi().returncode == 0


def test_changes_at_the_same_time_all_arrive(machine: Machine) -> None:
    started = [
        subprocess.Popen(["gpusim", "set", f"gpu={n % 4}", f"xid={n}"], env=machine.environment)
        for n in range(1, 21)
    ]
    assert [process.wait(20) for process in started] == [0] * 20
    shown = machine.run("gpusim", "show").stdout
    xids = sorted(int(line.rpartition(":")[2]) for line in shown.splitlines() if line.startswith("xid."))
    assert xids == list(range(1, 21))


def program(name: str) -> str:
    """A real program from the folder ARENA_TEST_GPU_BIN (built ones lie in the artifacts' cache)."""
    folder = os.environ.get("ARENA_TEST_GPU_BIN")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"ARENA_TEST_GPU_BIN names no folder with {name}")
    return str(Path(folder) / name)


@pytest.fixture
def host(machine: Machine) -> Path:
    """The same machine laid out as a driver root, with real device nodes."""
    if os.geteuid():
        pytest.skip("making device nodes needs root")
    root = machine.root / "host"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    for folder in (root / "dev", root / "usr/bin", libraries, root / FIRMWARE):
        folder.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for library in (machine.root / "lib").iterdir():
        (libraries / library.name).write_bytes(library.read_bytes()) if not library.is_symlink() else (
            libraries / library.name
        ).symlink_to(library.readlink())
    (root / "usr/bin/nvidia-smi").write_bytes((machine.root / "bin/nvidia-smi").read_bytes())
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    (root / "var/lib/arena-gpusim").mkdir(parents=True)
    (root / "var/lib/arena-gpusim/state").write_bytes(machine.state.read_bytes())
    (root / FIRMWARE / "gsp_simulated.bin").symlink_to("../../../../../var/lib/arena-gpusim/state")
    nodes = subprocess.run(
        [machine.root / "bin/gpusim", "nodes"],
        env={**machine.environment, "ARENA_GPUSIM_DEV": str(root / "dev")},
        check=False,
    )
    if nodes.returncode:
        pytest.skip("this machine may not make device nodes")
    return root


def environment(root: Path) -> dict[str, str]:
    """Where the state is is not told: the library finds it from the driver root it lies in."""
    libraries = str(root / "usr/lib/x86_64-linux-gnu")  # on a host the loader's cache knows it
    return {
        **os.environ,
        "ARENA_GPUSIM_DEV": str(root / "dev"),
        "LD_LIBRARY_PATH": libraries,
        "NODE_NAME": "here",
    }


def test_nvidia_ctk_describes_the_gpus(host: Path) -> None:
    done = subprocess.run(
        [
            program("nvidia-ctk"),
            "cdi",
            "generate",
            "--mode=nvml",
            f"--driver-root={host}",
            f"--dev-root={host}",
            "--nvidia-cdi-hook-path=/usr/bin/nvidia-cdi-hook",
        ],
        env=environment(host),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)
    names = {device["name"] for device in spec["devices"]}
    assert {"0", "1", "2", "3", "all"} <= names
    assert sum(name.startswith("GPU-") for name in names) == 4
    mounts = {mount["containerPath"] for mount in spec["containerEdits"]["mounts"]}
    assert f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{VERSION}" in mounts
    assert f"/lib/firmware/nvidia/{VERSION}/gsp_simulated.bin" in mounts  # how the state gets into containers


def test_gpu_feature_discovery_labels_the_node(host: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            program("gpu-feature-discovery"),
            "--oneshot",
            "--use-node-feature-api=false",
            f"--output-file={tmp_path}/labels",
            "--device-discovery-strategy=nvml",
            f"--driver-root-ctr-path={host}",
        ],
        env=environment(host),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    labels = set((tmp_path / "labels").read_text().splitlines())
    assert {
        "nvidia.com/gpu.count=4",
        "nvidia.com/gpu.product=NVIDIA-A100-SXM4-40GB",
        "nvidia.com/gpu.memory=40960",
        "nvidia.com/cuda.driver-version.full=" + VERSION,
    } <= labels
