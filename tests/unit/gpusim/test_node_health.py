"""What the check's payload makes of the stand-in's answers: the same script that runs on GPU nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arena_install.verify import health
from arena_install.verify.payloads import podresources

from .conftest import Machine

PAYLOADS = Path(podresources.__file__).parent
ASK = f"import sys; sys.path.insert(0, {str(PAYLOADS)!r})\nimport node_health as p; say(p.gpus())"


def seen(machine: Machine) -> tuple[health.Gpu, ...]:
    answer: dict[str, Any] = machine.ask(ASK)
    assert answer["error"] == ""
    return health.parse(answer).gpus


def test_healthy_gpus(machine: Machine) -> None:
    found = seen(machine)
    assert [gpu.index for gpu in found] == [0, 1, 2, 3]
    one = found[1]
    assert (one.name, one.memory_mib, one.ecc, one.uncorrected) == ("NVIDIA A100-SXM4-40GB", 40960, True, 0)
    assert (one.remap_pending, one.remap_failure, one.retired_pending) == (False, False, None)
    assert (one.persistence, one.throttle, one.temperature, one.slowdown_at) == (True, 1, 33, 89)
    assert (one.links, one.link_errors, one.processes) == ((True,) * 12, 0, ())
    assert one.architecture == 7 and one.pcie == {"gen": 4, "gen_max": 4, "width": 16, "width_max": 16}
    assert one.fabric is None
    assert len({gpu.uuid for gpu in found}) == len({gpu.serial for gpu in found}) == 4


def test_what_is_wrong_arrives(machine: Machine) -> None:
    machine.gpusim("set", "gpu=0", "ecc=0", "persistence=0", "process=4711", "nvlink_down=1", "nvlink_errors=2")
    machine.gpusim("set", "gpu=1", "ecc_uncorrected=3", "remap_pending=1", "throttle=hw_thermal", "temperature=95")
    machine.gpusim("set", "gpu=2", "model=Tesla T4", "retired_pending=1", "gpu=3", "fault=lost")
    machine.gpusim("set", "gpu=1", "pcie_width=8", "pcie_gen=1")
    off, hot, old, lost = seen(machine)
    assert (off.ecc, off.uncorrected, off.persistence, off.processes) == (False, None, False, (4711,))
    assert (off.links, off.link_errors) == ((True,) * 11 + (False,), 22)
    assert (hot.uncorrected, hot.remap_pending, hot.throttle, hot.temperature) == (3, True, 0x40, 95)
    assert hot.pcie == {"gen": 1, "gen_max": 4, "width": 8, "width_max": 16} and old.architecture == 6
    assert (old.retired_pending, old.remap_pending, old.links) == (True, None, ())
    assert lost.error == "GPU is lost" and lost.uuid == ""


def test_without_a_driver_the_reason_is_told(machine: Machine) -> None:
    machine.gpusim("set", "init=driver_not_loaded")
    assert "Driver Not Loaded" in machine.ask(ASK)["error"]
