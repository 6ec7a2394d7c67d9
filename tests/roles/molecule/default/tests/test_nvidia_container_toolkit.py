"""nvidia_container_toolkit: containers can ask for each GPU of the host by CDI, after a reboot too."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://gpu"]


def test_programs_can_be_run(host: Host) -> None:
    for name in ("nvidia-ctk", "nvidia-cdi-hook", "nvidia-container-runtime"):
        program = host.file(f"/usr/bin/{name}")
        assert (program.user, program.mode) == ("root", 0o755), name


def test_every_gpu_is_described(host: Host) -> None:
    described = host.check_output("nvidia-ctk --quiet cdi list").splitlines()
    uuids = host.check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    names = [*(f"{number}" for number in range(len(uuids))), *uuids, "all"]
    assert set(described) == {f"nvidia.com/gpu={name}" for name in names}


def test_the_description_is_made_at_every_boot(host: Host) -> None:
    assert host.service("arena-nvidia-cdi").is_enabled
    assert host.service("arena-nvidia-cdi").is_running
