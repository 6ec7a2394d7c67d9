"""What the XIDs mean that a driver reports, after NVIDIA's page "XID Errors" (docs.nvidia.com/deploy/xid-errors)."""

from __future__ import annotations

from collections.abc import Iterable

from arena_install.probe.facts import Xid

_MEANINGS = {
    13: "an application's error in the graphics engine",
    31: "an application's memory fault",
    32: "a corrupted push buffer",
    43: "an application's fault: the GPU stopped processing",
    45: "an application was ended",
    48: "double-bit ECC error",
    61: "the microcontroller stopped",
    62: "the microcontroller halted",
    63: "a row was remapped, or a page retired",
    64: "row remapping, or page retirement, failed",
    68: "video processor error",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "many single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    109: "a context switch timed out",
    119: "the GPU system processor does not answer",
    120: "error of the GPU system processor",
}

#: Errors of applications: the device plugin leaves the GPU in use.
_APPLICATIONS = frozenset({13, 31, 43, 45, 68, 109})


def critical(xids: Iterable[Xid]) -> tuple[Xid, ...]:
    """Those after which the device plugin takes the GPU away."""
    return tuple(xid for xid in xids if xid.code not in _APPLICATIONS)


def told(xid: Xid) -> str:
    """48 (double-bit ECC error) on GPU 1"""
    meaning = f" ({_MEANINGS[xid.code]})" if xid.code in _MEANINGS else ""
    return f"{xid.code}{meaning} on GPU {xid.gpu}"
