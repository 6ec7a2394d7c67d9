"""What the script found of GPUs. Pure."""

from __future__ import annotations

import re

from arena_install.probe.facts import Gpu, Nvidia, PciGpu, Xid
from arena_install.probe.lines import Lines, number

_LISTED = re.compile(r"GPU (\d+): (.*) \(UUID: (GPU-[\w-]+)\)")
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([^)]*)\): (\d+)")


def nvidia(lines: Lines) -> Nvidia:
    pci = tuple(
        PciGpu(slot, device, driver)
        for slot, device, class_, driver in lines.split("pci", 4)
        if class_.startswith(("0x0300", "0x0302"))
    )
    kernel = match[0] if (match := re.search(r"\d+\.\d+(?:\.\d+)?", lines.text("nvidia.version"))) else ""
    failed = lines.text("smi.status") not in ("", "0")
    gpus, driver, said = _queried(lines)
    if failed and not gpus:
        found = [match for row in lines.rows["smi.list"] if (match := _LISTED.match(row))]
        gpus = [Gpu(int(match[1]), match[3], match[2]) for match in found]
    return Nvidia(
        pci,
        tuple(lines.rows["device"]),
        kernel,
        driver,
        tuple(gpus),
        " ".join(" ".join(said).split())[:300] if failed else "",
        simulated=any(kind == "simulated" for kind, _ in lines.split("driver", 2)),
        xids=_xids(lines),
        cdi=_cdi(lines),
        plugin_socket=bool(lines.rows["plugin.socket"]),
    )


def _queried(lines: Lines) -> tuple[list[Gpu], str, list[str]]:
    """(GPUs, driver version, lines that are no GPU) of nvidia-smi's answer. A sentence stands where a GPU is lost."""
    gpus, driver, said = [], "", []
    for row in lines.rows["smi"]:
        fields = [field.strip() for field in row.split(",")]
        if len(fields) == 5 and fields[0].isdecimal():
            gpus.append(Gpu(int(fields[0]), fields[1], fields[2], number(fields[3].partition(" ")[0])))
            driver = fields[4]
        else:
            said.append(row)
    return gpus, driver, said


def _xids(lines: Lines) -> tuple[Xid, ...]:
    found = [Xid(int(match[2]), match[1], row) for row in lines.rows["xid.kernel"] if (match := _XID.search(row))]
    for row in lines.rows["xid.simulated"]:
        gpu, _, code = row.partition(":")
        found.append(Xid(number(code), gpu, f"simulated GPU {gpu}: Xid {code}"))
    return tuple(found)


def _cdi(lines: Lines) -> tuple[str, ...]:
    """Devices of the files whose kind is nvidia.com/gpu: the device plugin has a file of its own beside them."""
    rows = lines.split("cdi", 3)
    ours = {path for path, key, value in rows if (key, value) == ("kind", "nvidia.com/gpu")}
    return tuple(sorted({value for path, key, value in rows if key == "name" and path in ours}))
