"""What upkeep.sh prints, as fields of HostFacts. Pure; a line that it does not know is skipped."""

from __future__ import annotations

import re
from typing import Any

from arena_install.probe.lines import Lines, number
from arena_install.probe.services import Package, PrivateFile, Upgrades

#: Packages that bring an NVIDIA driver, in the names of Debian, Ubuntu and NVIDIA's own repository.
_DRIVER_PACKAGE = re.compile(r"(nvidia-driver|nvidia-kernel-|nvidia-headless|nvidia-dkms|cuda-drivers)[-\w.+]*")


def upkeep(lines: Lines) -> dict[str, Any]:
    """Keyword arguments of HostFacts."""
    packages = {name: Package(version, want == "hold") for want, version, name in lines.split("package", 3)}
    return {
        "boot_id": lines.text("boot_id"),
        "own_name": lines.text("own_name").partition(" ")[0],
        "packages": packages,
        "upgrades": _upgrades(lines),
        "drivers": _drivers(lines, packages),
        "private": {
            path: PrivateFile(int(mode, 8), owner, group)
            for mode, owner, group, path in lines.split("private", 4)
            if re.fullmatch("[0-7]+", mode)
        },
        "changed": {path: float(number(seconds)) for seconds, path in lines.split("changed", 2)},
    }


def _upgrades(lines: Lines) -> Upgrades:
    said = lines.split("apt", 2)
    settings = dict(said)
    on = settings.get("APT::Periodic::Enable", "1") != "0"
    daily = settings.get("APT::Periodic::Unattended-Upgrade", "0") not in ("", "0")
    keep = tuple(value for key, value in said if key.startswith("Unattended-Upgrade::Package-Blacklist"))
    return Upgrades(lines.text("upgrades") == "yes" and on and daily, keep)


def _drivers(lines: Lines, packages: dict[str, Package]) -> dict[str, str]:
    drivers: dict[str, str] = {}
    for kind, path in lines.split("driver", 2):
        drivers.setdefault(kind, path)
    if named := [name for name in packages if _DRIVER_PACKAGE.fullmatch(name)]:
        drivers["packages"] = f"{named[0]} {packages[named[0]].version}"
    return drivers
