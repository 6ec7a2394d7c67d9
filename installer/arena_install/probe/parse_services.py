"""What the script found of what roles set up: units, certificates, registry, static pods. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from arena_install.probe.lines import Lines, number
from arena_install.probe.services import Registry, StaticPod, Unit


def services(lines: Lines) -> dict[str, Any]:
    """Keyword arguments of HostFacts."""
    return {
        "units": _units(lines),
        "certificates": _certificates(lines),
        "kubelet_arguments": dict(row.split("=", 1) for row in lines.rows["kubelet.argument"]),
        "static_pods": _static_pods(lines),
        "cni": tuple(sorted(lines.rows["cni"])),
        "flannel_subnet": lines.text("flannel.subnet") == "yes",
        "registry": Registry(lines.text("registry.url"), lines.text("registry.answer")),
        "runtimes": tuple(dict.fromkeys(lines.rows["runtime"])),
    }


def _units(lines: Lines) -> dict[str, Unit]:
    """Units that are there, by name. Times since boot become times of day by the host's own clock and uptime."""
    logs, drop_ins = _logs(lines), dict(lines.split("unit.drop_ins", 2))
    uptime, now = lines.text("uptime").partition(" ")[0], number(lines.text("now"))
    boot = now - float(uptime) if re.fullmatch(r"\d+(\.\d+)?", uptime) and now else None
    found = {}
    for name, enabled, active, sub, result, micros, restarts in lines.split("unit", 7):
        known = boot is not None and active == "active" and number(micros) > 0
        since = round((boot or 0) + number(micros) / 1e6, 1) if known else None
        places = tuple(drop_ins.get(name, "").split())
        found[name] = Unit(enabled, active, sub, result, since, number(restarts), places, logs.get(name, ()))
    return found


def _static_pods(lines: Lines) -> dict[str, StaticPod]:
    logs = _logs(lines)
    return {
        name: StaticPod(listens == "listens", logs.get(name, ())) for name, listens in lines.split("static", 2)
    }


def _certificates(lines: Lines) -> dict[str, float]:
    """Path -> when its certificate expires; what can't be read as a certificate is left out."""
    found = {}
    for path, der in _ders(lines):
        # Imported late: a host without certificates, and the child process, have no use for it.
        from cryptography import x509

        try:
            found[path] = x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
        except ValueError:
            continue
    return found


def _ders(lines: Lines) -> Iterator[tuple[str, bytes]]:
    for path, text in lines.split("certificate", 2):
        if data := _decoded(text):
            yield path, data
    for path, text in lines.split("certificate.pem", 2):
        pem = _decoded(text).decode("ascii", "replace")
        body = pem.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
        if data := _decoded("".join(body.split())):
            yield path, data


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _logs(lines: Lines) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, text in lines.split("log", 2):
        found[name] = (*found.get(name, ()), text.strip())
    return found
