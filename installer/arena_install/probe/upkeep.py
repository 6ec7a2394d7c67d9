"""Findings about what keeps a host as it was set up: its clock's service, certificates, private files, limits, packages
and drivers. Pure, as all findings are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from arena_install.inventory.cluster import Host
from arena_install.probe.facts import Finding, HostFacts
from arena_install.probe.services import PrivateFile

CERTIFICATE_DAYS = 30  # kubeadm's last a year; a month is time enough to renew them
#: A node of 110 pods with some thousand watched files each; the kernel's own floor (8192, 128) is used up by far fewer.
INOTIFY = {"fs.inotify.max_user_instances": 512, "fs.inotify.max_user_watches": 131072}
TIME_UNITS = ("chrony.service", "chronyd.service", "ntp.service", "ntpsec.service", "systemd-timesyncd.service")
#: Packages that stop pods, or GPUs, when they are upgraded under them.
_DELICATE = re.compile(r"containerd(\.io)?|runc|kubelet|kubeadm|nvidia-.*|libnvidia-.*|cuda-drivers.*")


def upkeep(host: Host, facts: HostFacts, now: float | None = None) -> Iterator[Finding]:
    """now: Unix seconds, for tests."""
    yield from _time(host, facts)
    yield from _certificates(host, facts, time.time() if now is None else now)
    yield from _private(host, facts)
    yield from _limits(host, facts)
    yield from _containerd(host, facts)
    yield from _upgrades(host, facts)
    yield from _drivers(host, facts)


def _time(host: Host, facts: HostFacts) -> Iterator[Finding]:
    """A container has its machine's clock; one that runs a time service all the same should have a working one."""
    if facts.init != "systemd" or not facts.units:
        return
    services = {name: facts.units[name] for name in TIME_UNITS if name in facts.units}
    running = [name for name, unit in services.items() if unit.active == "active"]
    failed = [name for name, unit in services.items() if unit.active == "failed"]
    if failed and not running:
        observed = f"{failed[0]} has failed"
    elif facts.virt != "container" and not running:
        observed = f"{next(iter(services))} does not run" if services else "none is installed"
    elif facts.virt != "container" and facts.time_synced is False:
        observed = f"{running[0]} runs, and has not found the time"
    else:
        return
    yield Finding(
        "time-not-kept",
        host.name,
        "warning",
        "No time service keeps the clock",
        observed,
        "chrony, ntpsec or systemd-timesyncd, running and synchronised",
        "apt-get install systemd-timesyncd (or mend the one that is there), then: timedatectl",
    )


def _certificates(host: Host, facts: HostFacts, now: float) -> Iterator[Finding]:
    for path, expires in facts.certificates.items():
        days = (expires - now) / 86400
        if days < CERTIFICATE_DAYS:
            yield Finding(
                "certificate-expires",
                host.name,
                "error" if days < 0 else "warning",
                "A certificate has expired" if days < 0 else "A certificate expires soon",
                f"{path} expired {-days:.0f} days ago" if days < 0 else f"{path} has {days:.0f} days left",
                f"at least {CERTIFICATE_DAYS} days",
                _renewal(path),
            )


def _renewal(path: str) -> str:
    if path.startswith("/var/lib/kubelet"):
        return f"rm {path}; systemctl restart kubelet  (it asks for a new one)"
    if path.startswith("/etc/arena-install"):
        return f"remove {path} and its key on the registry's host, then arena-install up"
    return "kubeadm certs renew all, then restart kube-apiserver, kube-controller-manager, kube-scheduler and etcd"


def _private(host: Host, facts: HostFacts) -> Iterator[Finding]:
    for path, file in facts.private.items():
        if _is_private(path, file):
            continue
        yield Finding(
            "private-file-open",
            host.name,
            "warning",
            "Others than its owner can read a private file",
            f"{path} is {file.mode:04o} {file.owner}:{file.group}",
            "no access for group and others, owner root",
            f"chown root {path}; chmod go= {path}",
        )


def _is_private(path: str, file: PrivateFile) -> bool:
    shared = 0o040 if path.endswith("/registry/tls.key") and file.group == "docker-registry" else 0
    owners = ("root", "etcd") if path.startswith("/var/lib/etcd") else ("root",)
    return file.owner in owners and not file.mode & 0o077 & ~shared


def _limits(host: Host, facts: HostFacts) -> Iterator[Finding]:
    for name, least in INOTIFY.items():
        value = facts.sysctls.get(name, "")
        if value.isdecimal() and int(value) < least:
            yield Finding(
                "limits-low",
                host.name,
                "warning",
                "Too few files can be watched",
                f"{name} is {value}",
                f"at least {least}",
                f"sysctl -w {name}={least}" + (" on the machine that runs it" if facts.virt == "container" else ""),
            )


def _containerd(host: Host, facts: HostFacts) -> Iterator[Finding]:
    unit = facts.units.get("containerd.service")
    if unit is None or unit.since is None:
        return
    for path, changed in facts.changed.items():
        if path.startswith("/etc/containerd/") and changed > unit.since + 1:  # times of files are whole seconds
            yield Finding(
                "containerd-stale",
                host.name,
                "warning",
                "containerd runs with an older configuration",
                f"{path} was changed {changed - unit.since:.0f} s after containerd started",
                "a start after the last change",
                "arena-install plan shows what is not as recorded; arena-install up puts it right",
            )


def _upgrades(host: Host, facts: HostFacts) -> Iterator[Finding]:
    if not facts.upgrades.automatic:
        return
    loose = [
        name
        for name, package in facts.packages.items()
        if _DELICATE.fullmatch(name) and not package.held and not _kept(name, facts.upgrades.keep)
    ]
    if loose:
        yield Finding(
            "upgrades-loose",
            host.name,
            "warning",
            "Automatic upgrades may replace what pods and GPUs run on",
            f"unattended-upgrades is on and may move {', '.join(loose)}",
            "these packages held, or in Unattended-Upgrade::Package-Blacklist",
            f"apt-mark hold {' '.join(loose)}",
        )


def _kept(name: str, patterns: tuple[str, ...]) -> bool:
    """As unattended-upgrades matches its list: at the start of the name."""
    for pattern in patterns:
        try:
            if re.match(pattern, name):
                return True
        except re.error:
            continue
    return False


def _drivers(host: Host, facts: HostFacts) -> Iterator[Finding]:
    if len(facts.drivers) > 1:
        yield Finding(
            "driver-twice",
            host.name,
            "warning",
            "The NVIDIA driver is installed in more than one way",
            ", ".join(f"{kind} ({what})" for kind, what in sorted(facts.drivers.items())),
            "one way: packages, NVIDIA's installer, a container, or a simulated one",
            "remove all but one, e.g. nvidia-uninstall for NVIDIA's installer",
        )
