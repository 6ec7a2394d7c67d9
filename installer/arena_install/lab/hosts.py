"""One container host: make it, start it, wait for its systemd, and set up how it is reached.

The flags are what kubelet, containerd and systemd need inside a container; docs/lab.md says why each is there.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shlex
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from arena_install.errors import StepError, TimedOutError
from arena_install.events import Step
from arena_install.lab import podman
from arena_install.lab.model import LabHost, LabInfo

HOST_LABEL = f"{podman.LABEL}-host"  # JSON: role, address, access
#: Seconds that a host has from its start until systemd says that it is up; 3 s on an idle machine.
BOOT_TIMEOUT = 180
SSH_TIMEOUT = 60
_MARK = "/var/lib/container-host/setup"
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Ready:
    """What making a host ready did (any of created, started, set up; empty: nothing) and the host key to pin."""

    host: LabHost
    did: tuple[str, ...]
    host_key: str
    failed_units: tuple[str, ...]


def make_ready(lab: LabInfo, host: LabHost, image: str, public_key: str, password: str, now: Step) -> Ready:
    """Create what is missing, start what is stopped, return when systemd runs. Safe to repeat after any interruption.

    Raises StepError with the host's last log lines, or TimedOutError.
    """
    did = []
    state = container_state(host.name)
    if state == "missing":
        now.progress("making the container")
        _create(lab, host, image)
        did.append("created")
    if state != "running":
        now.progress("starting")
        podman.run("start", host.name)
        did.append("started")
    now.waiting("its systemd")
    failed = _wait_for_systemd(host)
    script = setup_script(lab, host, public_key, password)
    mark = hashlib.sha256(script.encode()).hexdigest()
    now.waiting("its sshd")
    out = podman.run("exec", "--interactive", host.name, "sh", "-eu", stdin=_guarded(script, mark), timeout=60)
    if "set-up" in out.split():
        did.append("set up")
    return Ready(host, tuple(did), _host_key(host), failed)


def container_state(name: str) -> str:
    """running, exited, created...; "missing" when there is no such container."""
    done = podman.attempt("container", "inspect", "--format", "{{.State.Status}}", name)
    return done.stdout.strip() if done.returncode == 0 else "missing"


def _create(lab: LabInfo, host: LabHost, image: str) -> None:
    labels = ("--label", f"{podman.LABEL}={lab.name}")
    for volume in host.volumes:
        done = podman.attempt("volume", "create", *labels, volume)
        if done.returncode != 0 and not podman.exists("volume", volume):
            raise StepError(f"podman could not make volume {volume}", why=podman.reason(done))
    about = json.dumps({"role": host.role, "address": host.address, "access": asdict(lab.access)})
    command = create_command(lab, host, image, (*labels, "--label", f"{HOST_LABEL}={about}"))
    done = podman.attempt(*command)
    if done.returncode == 0 or podman.exists("container", host.name):
        return  # ours, or a create that was still running when its caller was killed
    # What a killed create leaves is storage that bears the name but no container.
    podman.attempt("rm", "--force", "--storage", host.name)
    podman.run(*command)


def create_command(lab: LabInfo, host: LabHost, image: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """podman's arguments."""
    nofile = _hard_limit(resource.RLIMIT_NOFILE)
    # podman lowers its own process limit to pid_max before it starts anything.
    nproc = min(_hard_limit(resource.RLIMIT_NPROC), int(Path("/proc/sys/kernel/pid_max").read_text()))
    return (
        "--runtime", podman.runtime(), "create", "--name", host.name, "--hostname", host.name, *labels,
        # The machine's own /etc/hosts and search domains have no business in a host (and would reach every pod).
        "--network", lab.network, "--ip", host.address, "--mac-address", mac(lab, host),
        "--dns-search", ".", "--no-hosts",
        "--privileged", "--cgroupns=private", *_systemd_flags(),
        "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--stop-signal", "SIGRTMIN+3",
        "--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}", "--pids-limit", "-1",
        "--env", "container=podman", "--log-opt", "max-size=1mb",
        *(word for volume, place in host.volumes.items() for word in ("--volume", f"{volume}:{place}:suid,dev,exec")),
        image, "/sbin/init",
    )


def mac(lab: LabInfo, host: LabHost) -> str:
    """The same after every restart, as a machine's is: with a new one, neighbours talk to the old for half a minute."""
    own = hashlib.sha256(f"{lab.name}/{host.name}/{lab.subnet}".encode()).hexdigest()
    return ":".join(["02", *(own[i : i + 2] for i in range(0, 10, 2))])


def _systemd_flags() -> tuple[str, ...]:
    if podman.cgroup_v2():
        return ("--systemd=always",)
    # On v1, podman's systemd mode would show every host the machine's own systemd hierarchy: kubelet then dies of
    # "cgroup [kubepods] has some missing paths". systemd 256 and later need to be told that v1 is meant.
    legacy = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    return ("--systemd=false", "--env", f"SYSTEMD_PROC_CMDLINE={legacy}")


def _hard_limit(which: int) -> int:
    """What this machine allows: asking for more fails where CAP_SYS_RESOURCE is missing."""
    hard = resource.getrlimit(which)[1]
    return _LIMIT if hard == resource.RLIM_INFINITY else min(hard, _LIMIT)


def _wait_for_systemd(host: LabHost) -> tuple[str, ...]:
    """Units that failed, once systemd has finished starting."""
    until = time.monotonic() + BOOT_TIMEOUT
    while (left := until - time.monotonic()) > 0:
        if (state := container_state(host.name)) != "running":
            raise StepError(f"its container is {state} instead of running", where=f"host {host.name}", why=_log(host))
        try:
            done = podman.attempt("exec", host.name, "systemctl", "is-system-running", "--wait", timeout=left)
        except TimedOutError:
            break
        answer = done.stdout.strip()
        if answer == "running":
            return ()
        if answer == "degraded":
            listing = ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend")
            units = podman.attempt("exec", host.name, *listing)
            return tuple(line.split()[0] for line in units.stdout.splitlines() if line.split())
        time.sleep(0.3)
    jobs = podman.attempt("exec", host.name, "systemctl", "list-jobs", timeout=10).stdout.strip()
    raise TimedOutError(
        f"systemd did not come up in {BOOT_TIMEOUT} s", where=f"host {host.name}", why=jobs[-800:] or _log(host)
    )


def _log(host: LabHost) -> str:
    done = podman.attempt("logs", "--tail", "8", host.name, timeout=20)
    return (done.stdout + done.stderr).strip()[-1500:]


def _host_key(host: LabHost) -> str:
    """ "ssh-ed25519 AAAA...", read inside the host and not from the network."""
    line = podman.run("exec", host.name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub", timeout=30)
    return " ".join(line.split()[:2])


def _guarded(script: str, mark: str) -> str:
    """Runs the script once; a second time only when it has changed."""
    return (
        f"test \"$(cat {_MARK} 2>/dev/null)\" = {mark} && exit 0\n{script}"
        f"mkdir -p {_MARK.rpartition('/')[0]}\necho {mark} > {_MARK}\necho set-up\n"
    )


def setup_script(lab: LabInfo, host: LabHost, public_key: str, password: str) -> str:
    """Shell that root runs in the host: the user and its key, sudo, sshd's port, who may connect. Goes in by stdin."""
    access = lab.access
    lines = [_write("/etc/ssh/sshd_config.d/lab.conf", f"Port {access.port}\nPermitRootLogin "
                    + ("prohibit-password" if access.user == "root" else "no")),
             _write("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{host.address} {host.name}")]
    home = "/root"
    if access.user != "root":
        user, home = shlex.quote(access.user), f"/home/{access.user}"
        rule = "ALL=(ALL:ALL) ALL" if access.sudo_password else "ALL=(ALL:ALL) NOPASSWD: ALL"
        lines += [
            f"id {user} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {user}",
            f"chpasswd <<'END'\n{access.user}:{password}\nEND" if password else f"usermod --lock {user}",
            # A locked password is refused by sshd's account check unless it can't match at all.
            "" if password else f"usermod --password '*' {user}",
            _write("/etc/sudoers.d/lab", f"{access.user} {rule}"),
            "chmod 0440 /etc/sudoers.d/lab",
        ]
    owner = shlex.quote(access.user)
    lines += [
        f"install -d -m 0700 -o {owner} -g {owner} {home}/.ssh",
        _write(f"{home}/.ssh/authorized_keys", public_key),
        f"chmod 0600 {home}/.ssh/authorized_keys; chown {owner}:{owner} {home}/.ssh/authorized_keys",
    ]
    if access.jump and host.name != lab.hosts[0].name:
        table = (
            "table inet lab_jump {\n  chain input {\n    type filter hook input priority -10; policy accept;\n"
            f"    ip saddr {lab.gateway} tcp dport {access.port} drop\n  }}\n}}"
        )
        unit = (
            "[Unit]\nDescription=Let SSH in from the jump host only\nBefore=ssh.service\n[Service]\nType=oneshot\n"
            "RemainAfterExit=yes\nExecStart=/usr/sbin/nft -f /etc/lab-jump.nft\n[Install]\nWantedBy=multi-user.target"
        )
        lines += [
            _write("/etc/lab-jump.nft", table), _write("/etc/systemd/system/lab-jump.service", unit),
            "systemctl daemon-reload", "systemctl --quiet enable --now lab-jump.service",
        ]
    lines.append("systemctl restart ssh.service")
    return "\n".join(line for line in lines if line) + "\n"


def _write(path: str, text: str) -> str:
    return f"cat > {path} <<'END'\n{text}\nEND"


def wait_for_ssh(lab: LabInfo, host: LabHost) -> None:
    """Log in as Ansible will, with the pinned key. Raises TimedOutError with what ssh said last."""
    until = time.monotonic() + SSH_TIMEOUT
    said = ""
    while time.monotonic() < until:
        try:
            done = subprocess.run(
                [*ssh_command(lab, host), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "true"],
                capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False,
            )
        except subprocess.TimeoutExpired:
            said = "no answer"
            continue
        if done.returncode == 0:
            return
        said = done.stderr.strip()[-500:]
        time.sleep(0.5)
    raise TimedOutError(
        f"SSH did not answer in {SSH_TIMEOUT} s", where=f"host {host.name}", why=said,
        fix=f"see its log: podman exec {host.name} journalctl -u ssh",
    )


def ssh_command(lab: LabInfo, host: LabHost) -> list[str]:
    """argv that logs in to that host; a remote command may be added."""
    return ["ssh", "-F", str(lab.folder / "ssh_config"), host.name]
