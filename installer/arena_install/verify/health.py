"""What a node's own tools say of its GPUs, as the payload node_health reports it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One GPU as NVML has it. None: this kind of GPU does not know. error: why NVML answers nothing about it.

    throttle: NVML's bit mask of reasons for which clocks are held down. temperature, slowdown_at: degrees Celsius.
    links: whether each NVLink is active. link_errors: CRC errors on those that are. processes: ids on the host.
    architecture: NVML's number (6: Turing, 10: Blackwell). pcie: "gen", "gen_max", "width", "width_max" of its link,
    the maximum being what GPU and slot can do together. fabric: NVML's number (3: it has joined the switches' fabric).
    """

    index: int
    error: str = ""
    uuid: str = ""
    serial: str = ""
    name: str = ""
    vbios: str = ""
    memory_mib: int = 0
    memory_used_mib: int = 0
    ecc: bool | None = None
    uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failure: bool | None = None
    retired_pending: bool | None = None
    persistence: bool | None = None
    throttle: int = 0
    temperature: int | None = None
    slowdown_at: int | None = None
    links: tuple[bool, ...] = ()
    link_errors: int = 0
    processes: tuple[int, ...] = ()
    architecture: int | None = None
    pcie: Mapping[str, int | None] = field(default_factory=dict)
    fabric: int | None = None


@dataclass(frozen=True)
class Xid:
    """One line of the driver: when as the journal writes it, bus such as "0000:0f:00"."""

    when: str
    bus: str
    number: int
    text: str


@dataclass(frozen=True)
class Health:
    """One node. versions: of "module", "nvml" and "cuda", "" for none. cdi: device names of kind nvidia.com/gpu.

    flavour: of the kernel module, "open", "proprietary" or "" where it doesn't say. switches: how many NVSwitches there
    are; manager: the version of the fabric manager that runs for them, "" for none."""

    gpus: tuple[Gpu, ...]
    nvml_error: str = ""
    smi_code: int = 0
    smi_output: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    toolkit: str = ""
    toolkit_error: str = ""
    cdi: tuple[str, ...] = ()
    xids: tuple[Xid, ...] = ()
    journal_error: str = ""
    flavour: str = ""
    switches: int = 0
    manager: str = ""

    @property
    def known(self) -> tuple[Gpu, ...]:
        """The GPUs about which NVML answers."""
        return tuple(gpu for gpu in self.gpus if not gpu.error)


_XID = re.compile(r"^(?P<when>\S+).*NVRM: Xid \((?:PCI:)?(?P<bus>[^)]*)\): (?P<number>\d+)(?:, )?(?P<text>.*)$")


def parse(record: Mapping[str, Any]) -> Health:
    """A record "health" of the payload."""
    smi, kit = record.get("smi") or {}, record.get("toolkit") or {}
    journal, switches = record.get("journal") or {}, record.get("switches") or {}
    return Health(
        gpus=tuple(_gpu(row) for row in record.get("gpus") or ()),
        nvml_error=str(record.get("error") or ""),
        smi_code=int(smi.get("code", 127)),
        smi_output=str(smi.get("output") or ""),
        versions=dict(record.get("versions") or {}),
        toolkit=str(kit.get("version") or ""),
        toolkit_error=str(kit.get("error") or ""),
        cdi=tuple(kit.get("devices") or ()),
        xids=tuple(xid for line in journal.get("lines") or () if (xid := xid_of(line))),
        journal_error=str(journal.get("error") or ""),
        flavour=str(record.get("flavour") or ""),
        switches=int(switches.get("count") or 0),
        manager=(str(switches.get("version") or "of unknown version") if switches.get("running") else ""),
    )


def xid_of(line: str) -> Xid | None:
    """What a line of the journal (short-iso) says of an XID, None if nothing."""
    found = _XID.match(line)
    return Xid(found["when"], found["bus"], int(found["number"]), found["text"]) if found else None


_NUMBERS = ("uncorrected", "temperature", "slowdown_at", "architecture", "fabric")
_TEXTS = ("error", "uuid", "serial", "name", "vbios")
_COUNTS = ("memory_mib", "memory_used_mib", "throttle", "link_errors")
_FLAGS = ("ecc", "remap_pending", "remap_failure", "retired_pending", "persistence")


def _gpu(row: Mapping[str, Any]) -> Gpu:
    fields: dict[str, Any] = {key: row.get(key) for key in _NUMBERS}
    fields |= {key: str(row.get(key) or "") for key in _TEXTS}
    fields |= {key: int(row.get(key) or 0) for key in _COUNTS}
    fields |= {key: None if row.get(key) is None else bool(row[key]) for key in _FLAGS}
    fields |= {key: tuple(row.get(key) or ()) for key in ("links", "processes")}
    return Gpu(int(row["index"]), pcie=dict(row.get("pcie") or {}), **fields)
