"""What NVML says of each GPU, under the names and in the units that NVIDIA's DCGM gives these figures.

Field names and units: DCGM's dcgm_fields.h. The same rules, alerts and questions then serve where DCGM's own exporter
runs and where this one does. A figure that a kind of GPU does not have is left out, never made up.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MIB = 2**20
_CORRECTED, _UNCORRECTED, _SINCE_BOOT = 0, 1, 0  # NVML's numbers
_SM, _MEMORY = 1, 2  # clocks
_SLOWDOWN = 1  # temperature threshold
_MEMORY_TEMPERATURE = 82  # NVML's field
_WAIT_MS = 1000
_AGAIN = 5.0  # seconds until GPUs that could not be watched are tried once more

Ask = Callable[..., Any]


@dataclass
class Gpu:
    """labels: who it is, as DCGM's exporter labels it. values: field -> figure; none but the last XID for one that NVML
    no longer answers for. error: why not."""

    uuid: str
    labels: dict[str, str]
    values: dict[str, float] = field(default_factory=dict)
    error: str = ""


def _remapped(which: int) -> Callable[[Any, Ask], float | None]:
    def one(nvml: Any, ask: Ask) -> float | None:
        rows = ask(nvml.nvmlDeviceGetRemappedRows)
        return None if rows is None else float(rows[which])

    return one


def _memory(name: str) -> Callable[[Any, Ask], float | None]:
    """In MiB. The driver's own part is counted apart from what programs use."""

    def one(nvml: Any, ask: Ask) -> float | None:
        memory = ask(lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu, nvml.nvmlMemory_v2)) or ask(
            nvml.nvmlDeviceGetMemoryInfo
        )
        return float(getattr(memory, name) // _MIB) if hasattr(memory, name) else None

    return one


def _part(call: str, name: str) -> Callable[[Any, Ask], float | None]:
    def one(nvml: Any, ask: Ask) -> float | None:
        found = ask(getattr(nvml, call))
        return None if found is None else float(getattr(found, name))

    return one


def _number(call: str, *arguments: int, factor: float = 1.0) -> Callable[[Any, Ask], float | None]:
    def one(nvml: Any, ask: Ask) -> float | None:
        found = ask(getattr(nvml, call), *arguments)
        return None if found is None else float(found) * factor

    return one


def _memory_temperature(nvml: Any, ask: Ask) -> float | None:
    found = ask(lambda gpu: nvml.nvmlDeviceGetFieldValues(gpu, [_MEMORY_TEMPERATURE])[0])
    return float(found.value.uiVal) if found is not None and found.nvmlReturn == 0 else None


#: DCGM's field -> how NVML is asked for it. XIDs come as events, see Watch.
FIELDS: dict[str, Callable[[Any, Ask], float | None]] = {
    "DCGM_FI_DEV_SM_CLOCK": _number("nvmlDeviceGetClockInfo", _SM),
    "DCGM_FI_DEV_MEM_CLOCK": _number("nvmlDeviceGetClockInfo", _MEMORY),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": _number("nvmlDeviceGetCurrentClocksThrottleReasons"),
    "DCGM_FI_DEV_GPU_TEMP": _number("nvmlDeviceGetTemperature", 0),
    "DCGM_FI_DEV_MEMORY_TEMP": _memory_temperature,
    "DCGM_FI_DEV_SLOWDOWN_TEMP": _number("nvmlDeviceGetTemperatureThreshold", _SLOWDOWN),
    "DCGM_FI_DEV_POWER_USAGE": _number("nvmlDeviceGetPowerUsage", factor=0.001),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": _number("nvmlDeviceGetTotalEnergyConsumption"),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": _number("nvmlDeviceGetPcieReplayCounter"),
    "DCGM_FI_DEV_GPU_UTIL": _part("nvmlDeviceGetUtilizationRates", "gpu"),
    "DCGM_FI_DEV_MEM_COPY_UTIL": _part("nvmlDeviceGetUtilizationRates", "memory"),
    "DCGM_FI_DEV_FB_USED": _memory("used"),
    "DCGM_FI_DEV_FB_FREE": _memory("free"),
    "DCGM_FI_DEV_FB_RESERVED": _memory("reserved"),
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": _number("nvmlDeviceGetTotalEccErrors", _CORRECTED, _SINCE_BOOT),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": _number("nvmlDeviceGetTotalEccErrors", _UNCORRECTED, _SINCE_BOOT),
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": _remapped(0),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": _remapped(1),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": _remapped(3),
}
XID = "DCGM_FI_DEV_XID_ERRORS"


class Watch:
    """NVML, kept open, with a thread that waits for XIDs. Use from one thread at a time."""

    def __init__(self, nvml: Any, hostname: str) -> None:
        """Raises NVMLError where there is no driver that works."""
        self._nvml, self._hostname = nvml, hostname
        nvml.nvmlInit()
        self._driver = _text(nvml.nvmlSystemGetDriverVersion())
        self._known: dict[int, tuple[str, dict[str, str]]] = {}  # index -> UUID and labels of one that has answered
        self._indexes: dict[int, int] = {}  # address of a handle -> index
        self._xids: dict[int, int] = {}  # index -> the last one
        self._watched: set[int] = set()
        self._events: Any = None
        self._tried = 0.0
        self.look([])
        threading.Thread(target=self._listen, daemon=True).start()

    def look(self, fields: list[str]) -> list[Gpu]:
        """Every GPU as it is now. Raises NVMLError when the driver as a whole does not answer."""
        found = [self._look(index, fields) for index in range(self._nvml.nvmlDeviceGetCount())]
        return [gpu for gpu in found if gpu is not None]

    def _look(self, index: int, fields: list[str]) -> Gpu | None:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            if index not in self._known:
                self._known[index] = self._identity(index, handle)
            self._indexes[_address(handle)] = index
            self._register(index, handle)
            gpu = Gpu(*self._known[index])

            def ask(call: Callable[..., Any], *arguments: Any) -> Any:
                try:
                    return call(handle, *arguments)
                except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_InvalidArgument):
                    return None

            for name in fields:
                value = FIELDS[name](nvml, ask) if name in FIELDS else None
                if value is not None:
                    gpu.values[name] = value
        except nvml.NVMLError as error:  # one GPU that is lost does not hide the others
            if index not in self._known:
                return None
            gpu = Gpu(*self._known[index], error=str(error))
        if XID in fields and index in self._watched:
            gpu.values[XID] = float(self._xids.get(index, 0))
        return gpu

    def _identity(self, index: int, handle: Any) -> tuple[str, dict[str, str]]:
        nvml = self._nvml
        uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        return uuid, {
            "gpu": str(index),
            "UUID": uuid,
            "pci_bus_id": _text(nvml.nvmlDeviceGetPciInfo(handle).busId),
            "device": f"nvidia{index}",
            "modelName": _text(nvml.nvmlDeviceGetName(handle)),
            "Hostname": self._hostname,
            "DCGM_FI_DRIVER_VERSION": self._driver,
        }

    def _register(self, index: int, handle: Any) -> None:
        """Have this GPU's XIDs come to the thread; a kind that has none is not asked for a while."""
        nvml = self._nvml
        if index in self._watched or (self._tried and time.monotonic() - self._tried < _AGAIN):
            return
        try:
            if self._events is None:
                self._events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._events)
            self._watched.add(index)
        except nvml.NVMLError:
            self._tried = time.monotonic()

    def _listen(self) -> None:
        nvml = self._nvml
        while True:
            if self._events is None:
                time.sleep(_WAIT_MS / 1000)
                continue
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, _WAIT_MS)
            except nvml.NVMLError_Timeout:
                continue
            except nvml.NVMLError:  # a GPU that was lost ends the wait at once, again and again
                time.sleep(_WAIT_MS / 1000)
                continue
            index = self._indexes.get(_address(event.device))
            if index is not None and event.eventType == nvml.nvmlEventTypeXidCriticalError:
                self._xids[index] = int(event.eventData)


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
