"""The script's lines to HostFacts. Pure; a line it does not know is skipped: an odd host costs a fact and no more."""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from arena_install.probe.facts import (
    Disk,
    HostFacts,
    Interface,
    LedgerItem,
    LedgerRecord,
    Listener,
    Membership,
    Nameserver,
    Os,
)
from arena_install.probe.lines import Lines, number
from arena_install.probe.parse_gpu import nvidia
from arena_install.probe.parse_services import services
from arena_install.probe.parse_upkeep import upkeep

_PORTS = (6443, 2379, 2380, 10250, 10257, 10259, 5000, 80, 443)
_KCONFIG = {
    "BRIDGE_NETFILTER": "br_netfilter",
    "OVERLAY_FS": "overlay",
    "NF_TABLES": "nf_tables",
    "NFS_FS": "nfs",
    "NFSD": "nfsd",
    "VXLAN": "vxlan",
}
_VERSION = re.compile(r"v?\d+\.\d+(?:\.\d+)?[-+.~\w]*")


def parse(output: str, clock: Sequence[Sequence[object]] = ()) -> HostFacts:
    """output: what the script printed. clock: rows of (the host's time as printed, sent, received): clock_offset."""
    lines = Lines(output)
    _, kernel, arch = [*lines.text("uname").split(), "", "", ""][:3]
    container, machine = lines.text("virt.container"), lines.text("virt.vm")
    inside, virtual = container not in ("", "none"), machine not in ("", "none")
    offset, error = clock_offset(clock)
    gateway, interface = _default_route(lines.rows["route"])
    return HostFacts(
        privileged=lines.text("uid") == "0" and "ledger" not in lines.values,
        os=Os(lines.text("os.ID"), lines.text("os.VERSION_ID"), lines.text("os.PRETTY_NAME")),
        kernel=kernel,
        arch=arch,
        virt="container" if inside else "vm" if virtual else "bare",
        virt_kind=container if inside else machine if virtual else "",
        init="systemd" if lines.text("systemd") == "yes" else lines.text("init"),
        cgroup=_cgroup(lines.text("cgroup")),
        cpus=lines.number("cpus"),
        memory=lines.number("MemTotal") // 1024,
        memory_available=lines.number("MemAvailable") // 1024,
        swap=lines.number("SwapTotal") // 1024,
        disks=_disks(lines),
        modules=_modules(lines),
        filesystems=tuple(sorted(set(lines.rows["filesystem"]))),
        sysctls={path.replace("/", "."): " ".join(value.split()) for path, value in lines.split("sysctl", 2)},
        clock_offset=offset,
        clock_error=error,
        time_synced=_time_synced(lines),
        hostname=lines.text("hostname"),
        machine_id=lines.text("machine_id"),
        product_uuid=lines.text("product_uuid").lower(),
        product_name=lines.text("product_name"),
        interfaces=_interfaces(lines),
        default_gateway=gateway,
        default_interface=interface,
        nameservers=_nameservers(lines),
        dns_search=tuple(word for row in lines.rows["search"][-1:] for word in row.split()),
        listening=_listening(lines),
        nvidia=nvidia(lines),
        secure_boot=_secure_boot(lines),
        versions=_versions(lines),
        config_digests=dict(_digests(lines)),
        kubernetes=_membership(lines),
        **services(lines),
        **upkeep(lines),
        ledger=_ledger(lines),
    )


def clock_offset(samples: Iterable[Sequence[object]]) -> tuple[float | None, float]:
    """(the host's clock less ours, +-) in seconds.

    Each sample bounds it: the host read its clock after we sent and before we received. Several bounds are cut with
    each other, so one slow reply does not spoil the rest.
    """
    low, high = float("-inf"), float("inf")
    for remote, sent, received in samples:
        match = re.match(r"(\d+)(?:\.(\d+))?", str(remote))
        if match is None or not isinstance(sent, (int, float)) or not isinstance(received, (int, float)):
            continue
        time = float(f"{match[1]}.{match[2] or 0}")
        grain = 0.0 if match[2] else 1.0  # busybox's date knows whole seconds only
        low, high = max(low, time - received), min(high, time + grain - sent)
    if low == float("-inf"):
        return None, 0.0
    return round((low + high) / 2, 6), round(max(0.0, high - low) / 2, 6)


def _cgroup(text: str) -> Literal["", "v1", "hybrid", "v2"]:
    return "v2" if text == "v2" else "hybrid" if text == "hybrid" else "v1" if text == "v1" else ""


def _disks(lines: Lines) -> tuple[Disk, ...]:
    """df prints a row a path, in the order in which they were asked for."""
    rows = [row.split(None, 5) for row in lines.rows["df"]]
    sizes = [row for row in rows if len(row) == 6 and row[1].isdecimal()]
    if len(sizes) != len(lines.rows["disk.path"]):
        return ()
    return tuple(
        Disk(path, row[5], number(row[1]) // 1024, number(row[3]) // 1024)
        for path, row in zip(lines.rows["disk.path"], sizes, strict=True)
    )


def _modules(lines: Lines) -> dict[str, Literal["loaded", "builtin", "available"]]:
    said: dict[str, set[str]] = defaultdict(set)
    for state, name in lines.split("module", 2):
        said[name.replace("-", "_")].add(state)
    for option in lines.rows["kconfig"]:
        if option in _KCONFIG:
            said[_KCONFIG[option]].add("builtin")
    if "overlay" in lines.rows["filesystem"]:
        said["overlay"].add("present")
    result: dict[str, Literal["loaded", "builtin", "available"]] = {}
    for name, states in sorted(said.items()):
        # Present in /sys without being in the list of modules: part of the kernel itself.
        result[name] = "loaded" if "loaded" in states else "builtin" if states & {"builtin", "present"} else "available"
    return result


def _interfaces(lines: Lines) -> tuple[Interface, ...]:
    addresses: dict[str, list[str]] = defaultdict(list)
    for name, address in lines.split("address", 2):
        addresses[name].append(address)
    return tuple(
        Interface(name, mac, number(mtu), state != "down", tuple(addresses[name]))
        for name, mac, mtu, state in lines.split("interface", 4)
    )


def _default_route(rows: Iterable[str]) -> tuple[str, str]:
    for row in rows:
        if match := re.match(r"default(?: via (\S+))? dev (\S+)", row):
            return match[1] or "", match[2]
    return "", ""


def _nameservers(lines: Lines) -> tuple[Nameserver, ...]:
    said = dict(lines.split("dns", 2))
    return tuple(
        Nameserver(address, _answer(said.get(address, ""))) for address in dict.fromkeys(lines.rows["nameserver"])
    )


def _answer(text: str) -> Literal["answers", "failing", "silent", "unknown"]:
    return (
        "answers"
        if text == "answers"
        else "failing"
        if text == "failing"
        else "silent"
        if text == "silent"
        else "unknown"
    )


def _listening(lines: Lines) -> tuple[Listener, ...]:
    found: dict[tuple[int, str], Listener] = {}
    for row in lines.rows["ss"]:
        words = row.split()
        if len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        process = match[1] if (match := re.search(r'users:\(\("([^"]*)"', row)) else ""
        found.setdefault((number(port), process), Listener(number(port), address, process))
    for row in lines.rows["tcp"]:
        raw, _, port = row.partition(":")
        decimal = int(port, 16) if re.fullmatch(r"[0-9A-Fa-f]+", port) else 0
        found.setdefault((decimal, ""), Listener(decimal, _proc_address(raw)))
    return tuple(listener for (port, _), listener in sorted(found.items()) if port in _PORTS)


def _proc_address(raw: str) -> str:
    """/proc/net/tcp writes addresses as 32-bit words in the machine's own order (little-endian here)."""
    try:
        data = bytes.fromhex(raw)
        return str(ipaddress.ip_address(b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))))
    except ValueError:
        return ""


def _time_synced(lines: Lines) -> bool | None:
    """By timesyncd's mark or chrony's word; None where neither says."""
    leap = lines.text("chrony").lower()
    return True if lines.text("timesync") == "yes" or leap == "normal" else False if leap else None


def _secure_boot(lines: Lines) -> bool | None:
    byte = lines.text("secureboot.byte")
    if byte:
        return byte == "1"
    said = lines.text("secureboot.mokutil").lower()
    return True if "enabled" in said else False if "disabled" in said else None


def _versions(lines: Lines) -> dict[str, str]:
    return {name: match[0] for name, text in lines.split("version", 2) if (match := _VERSION.search(text))}


def _digests(lines: Lines) -> list[tuple[str, str]]:
    parts = [row.split(None, 1) for row in lines.rows["sha256"]]
    return [(path.lstrip("*"), digest) for digest, path in (part for part in parts if len(part) == 2)]


def _membership(lines: Lines) -> Membership | None:
    server, other = lines.text("k8s.server"), lines.text("k8s.other")
    if not server and not other and not lines.text("k8s.admin"):
        return None
    digest = lines.text("k8s.ca").partition(" ")[0] or dict(_digests(lines)).get("/etc/kubernetes/pki/ca.crt", "")
    return Membership(server.strip("\"'"), digest, lines.text("k8s.control_plane") == "yes", other)


def _ledger(lines: Lines) -> dict[str, LedgerRecord]:
    found = {(kind, name): state for row in lines.rows["found"] for kind, name, state in _item(row)}
    records: dict[str, dict[str, str]] = defaultdict(dict)
    items: dict[str, list[LedgerItem]] = defaultdict(list)
    before: dict[str, list[LedgerItem]] = defaultdict(list)
    packages: dict[str, list[str]] = defaultdict(list)
    for role, text in lines.split("ledger", 2):
        key, _, value = text.partition("=")
        records[role][key] = value
    for word, rows in (("item", items), ("before", before)):
        for role, row in lines.split(word, 2):
            for kind, name, state in _item(row):
                rows[role].append(LedgerItem(kind, name, state, found.get((kind, name), "")))
    for role, name in lines.split("package", 2):
        packages[role].append(name)
    return {
        role: LedgerRecord(
            status=records[role].get("status", ""),
            inputs=records[role].get("inputs", ""),
            at=records[role].get("at", ""),
            items=tuple(items[role]),
            before=tuple(before[role]),
            packages=tuple(packages[role]),
        )
        for role in sorted({*records, *items})
    }


def _item(row: str) -> list[tuple[str, str, str]]:
    """kind|name|state, none if the row is broken. A name may hold a bar, a kind and a state do not."""
    kind, first, rest = row.partition("|")
    name, last, state = rest.rpartition("|")
    return [(kind, name, state)] if first and last else []
