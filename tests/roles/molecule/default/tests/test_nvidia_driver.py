"""nvidia_driver, simulated: nvidia-smi works, and GPUs are there again after a reboot."""

from __future__ import annotations

import re

from testinfra.host import Host

testinfra_hosts = ["ansible://gpu"]

COUNT = 4  # the role's default


def test_nvidia_smi_lists_the_gpus(host: Host) -> None:
    listed = host.check_output("nvidia-smi -L").splitlines()
    assert [line.split(":")[0] for line in listed] == [f"GPU {number}" for number in range(COUNT)]
    assert len(set(re.findall(r"UUID: (GPU-[0-9a-f-]{36})", "\n".join(listed)))) == COUNT


def test_each_gpu_is_a_device(host: Host) -> None:
    devices = " ".join(f"/dev/nvidia{name}" for name in (*range(COUNT), "ctl"))
    assert host.check_output(f"stat -c %F {devices}").splitlines() == ["character special file"] * (COUNT + 1)
    assert not host.file(f"/dev/nvidia{COUNT}").exists


def test_devices_come_with_every_boot(host: Host) -> None:
    assert host.service("arena-gpusim").is_enabled
    assert host.service("arena-gpusim").is_running


def test_programs_find_the_library_by_its_name(host: Host) -> None:
    assert "libnvidia-ml.so.1 " in host.check_output("/sbin/ldconfig -p")
