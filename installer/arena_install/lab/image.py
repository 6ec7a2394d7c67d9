"""The image that every container host starts from: Debian with systemd and sshd, as bare as a freshly installed server.

Its tag is the digest of what goes into it, so it is made once and again only when that changes. The packages that roles
install later lie in apt's archive folder, not installed: a host is bare, yet setting it up costs no download.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path

from arena_install.artifacts.apt_sources import debian_sources
from arena_install.artifacts.rootfs import build_rootfs
from arena_install.events import Emit, step
from arena_install.lab import podman
from arena_install.paths import cache_dir

REPOSITORY = "localhost/arena-install-lab-host"
SUITE = "trixie"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "sudo", "iproute2", "iputils-ping",
    "iptables", "nftables", "kmod", "procps", "curl", "ethtool", "conntrack", "socat", "ca-certificates", "openssl",
    "zstd", "pciutils",
)
DOWNLOAD_ONLY = ("containerd", "runc", "containernetworking-plugins", "docker-registry", "chrony", "haproxy", "gpg")
#: Units that act on the kernel or on hardware, which a container host shares with the machine it runs on.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-logind.service", "getty.target", "console-getty.service", "systemd-networkd-wait-online.service",
    "systemd-modules-load.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount", "systemd-pcrphase.service", "systemd-remount-fs.service",
    "systemd-firstboot.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer",
)
SETUP = (
    f"systemctl mask {' '.join(MASKED)}",
    # Debian's own files set kernel.* values, which are not namespaced: they would change the machine below.
    'for file in /usr/lib/sysctl.d/*.conf; do ln -sf /dev/null "/etc/sysctl.d/${file##*/}"; done',
    "mkdir -p /etc/systemd/journald.conf.d /etc/systemd/system/ssh.service.d /etc/ssh/sshd_config.d",
    "printf '[Journal]\\nStorage=volatile\\nRuntimeMaxUse=32M\\nReadKMsg=no\\nAudit=no\\n'"
    " > /etc/systemd/journald.conf.d/container-host.conf",
    # Every host makes a host key of its own when it first starts.
    "rm -f /etc/ssh/ssh_host_*",
    "printf '[Service]\\nExecStartPre=\\nExecStartPre=/bin/sh -c \"test -s /etc/ssh/ssh_host_ed25519_key || "
    "ssh-keygen -q -t ed25519 -N \\\\x27\\\\x27 -f /etc/ssh/ssh_host_ed25519_key\"\\nExecStartPre=/usr/sbin/sshd -t\\n'"
    " > /etc/systemd/system/ssh.service.d/host-key.conf",
    "printf 'HostKey /etc/ssh/ssh_host_ed25519_key\\nPasswordAuthentication no\\nKbdInteractiveAuthentication no\\n"
    "PermitRootLogin prohibit-password\\nUseDNS no\\nMaxStartups 100:30:200\\nMaxSessions 100\\n'"
    " > /etc/ssh/sshd_config.d/container-host.conf",
    # A booted machine's root is a shared mount, which kubelet counts on; in a container nobody else sees to it.
    "printf '[Unit]\\nDescription=Root as a shared mount\\nDefaultDependencies=no\\nBefore=sysinit.target\\n\\n"
    "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/usr/bin/mount --make-rshared /\\n\\n"
    "[Install]\\nWantedBy=sysinit.target\\n'"
    " > /etc/systemd/system/shared-root.service",
    "systemctl enable shared-root.service",
    "systemctl enable ssh.service && systemctl set-default multi-user.target",
    "rm -f /etc/hostname /etc/machine-id && : > /etc/machine-id && : > /etc/fstab",
)


def tag() -> str:
    """Name with tag of the image that hosts made now start from. Raises ConfigError without a Debian source."""
    sources = [source.line() for source in debian_sources(SUITE)]
    inputs = json.dumps([SUITE, PACKAGES, DOWNLOAD_ONLY, SETUP, sources])
    return f"{REPOSITORY}:{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"


def ensure(emit: Emit) -> str:
    """Make the image unless it is there, remove older ones that no host uses; its name. Takes about two minutes."""
    name = tag()
    with step(emit, "lab/image", "looking for the host image") as now:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with (cache_dir() / "lab-image.lock").open("w") as lock:
            now.waiting("another lab that is making it")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if podman.exists("image", name):
                return name
            now.progress("making it: Debian with systemd and sshd, once")
            _make(name, emit)
            now.end("changed", name)
        _remove_others(name)
    return name


def _make(name: str, emit: Emit) -> None:
    tar = cache_dir() / "tmp" / "lab-host.tar"
    try:
        build_rootfs(
            SUITE, PACKAGES, tar, emit, setup=SETUP, download_only=DOWNLOAD_ONLY, step_name="lab/root file system"
        )
        with step(emit, "lab/image import", "handing it to podman") as now:
            podman.run("import", "--quiet", "--change", f"LABEL={podman.LABEL}-image={SUITE}", str(tar), name)
            now.end("changed")
    finally:
        Path(tar).unlink(missing_ok=True)


def remove_unused() -> None:
    """Remove every host image that no container uses."""
    _remove_others("")


def _remove_others(kept: str) -> None:
    for image in podman.objects("images", "--filter", f"reference={REPOSITORY}"):
        for name in image.get("Names") or ():
            if name != kept:
                podman.attempt("image", "rm", name)  # refused, rightly, while a host uses it
