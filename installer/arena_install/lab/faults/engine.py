"""Puts a fault into a lab's hosts and takes it out again.

What is about to be broken is written into the lab's state first, so that an inject that was killed anywhere can be
mended, by whoever comes next. Only container hosts of a lab are ever touched: each is asked for its label.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_install import inventory
from arena_install.errors import ArenaError, ConfigError, ErrorGroup, StepError, TimedOutError
from arena_install.events import Emit, step
from arena_install.lab import files, podman
from arena_install.lab.faults.model import Fault, find, load
from arena_install.lab.lock import locked
from arena_install.lab.model import LabInfo, folder
from arena_install.lab.provider import find as find_lab

#: Seconds for one inject or mend on one host, and for the effect to be there or gone.
SCRIPT_TIMEOUT = 180
EFFECT_TIMEOUT = 120
_KEPT = "/var/lib/arena-install-faults"
_PREAMBLE = Path(__file__).parent / "preamble.sh"
_KUBECONFIG = "/etc/kubernetes/admin.conf"


@dataclass(frozen=True)
class Active:
    """A fault that is in a lab, or may be: it was about to be injected. fault: as it was then, for a version of this
    program that does not know it. since: Unix seconds."""

    fault: Fault
    hosts: tuple[str, ...]
    since: float

    @property
    def name(self) -> str:
        return self.fault.name


def active(lab: str) -> tuple[Active, ...]:
    """The faults in this lab, in the order in which they were injected."""
    try:
        rows = json.loads(_file(lab).read_text())
    except FileNotFoundError:
        return ()
    return tuple(Active(Fault.model_validate(row["fault"]), tuple(row["hosts"]), row["since"]) for row in rows)


def inject(lab: str, name: str, emit: Emit) -> Active:
    """Break it, and wait until it shows. Injecting what is already in repeats it.

    Raises ConfigError for an unknown fault or hosts that are not of this lab, StepError, or TimedOutError if it doesn't
    show; the fault then counts as being in.
    """
    fault = find(name)
    info = find_lab(lab)
    with locked(lab):
        hosts = _targets(info, fault)
        now = Active(fault, hosts, time.time())
        _save(lab, [*(one for one in active(lab) if one.name != name), now])
        for host in hosts:
            with step(emit, f"fault/{name}/{host}", fault.title) as handle:
                _script(info, host, fault, "inject", fault.inject)
                if fault.shows:
                    handle.waiting("its effect")
                    _until(info, host, fault, "shows", fault.shows)
                handle.end("changed", "broken")
    return now


def mend(lab: str, name: str, emit: Emit) -> None:
    """Take a fault out and wait until it is gone; also one that is not recorded as being in. Errors as inject()'s."""
    info = find_lab(lab)
    with locked(lab):
        known = {one.name: one for one in active(lab)}
        fault = known[name].fault if name in known and name not in load() else find(name)
        hosts = known[name].hosts if name in known else _targets(info, fault)
        _require_lab_hosts(info, hosts)
        errors = [error for host in hosts if (error := _mend_host(info, host, fault, emit))]
        if errors:
            raise errors[0] if len(errors) == 1 else ErrorGroup(errors)
        _save(lab, [one for one in active(lab) if one.name != name])


def mend_all(lab: str, emit: Emit) -> tuple[str, ...]:
    """Mend what is in this lab, the latest first, all of it even if one fails; the names."""
    find_lab(lab)
    names = [one.name for one in reversed(active(lab))]
    errors: list[ArenaError] = []
    for name in names:
        try:
            mend(lab, name, emit)
        except ArenaError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorGroup(errors)
    return tuple(names)


def _mend_host(info: LabInfo, host: str, fault: Fault, emit: Emit) -> ArenaError | None:
    try:
        with step(emit, f"fault/{fault.name}/{host}", f"mending: {fault.title}") as handle:
            _script(info, host, fault, "mend", fault.mend)
            if fault.gone:
                handle.waiting("it to be gone")
                _until(info, host, fault, "gone", fault.gone)
            _exec(info, host, fault, 'rm -rf "$KEPT"')
            handle.end("changed", "mended")
    except ArenaError as error:
        return error
    return None


def _targets(info: LabInfo, fault: Fault) -> tuple[str, ...]:
    """Names of the hosts that the fault is for, by the lab's inventory."""
    cluster = inventory.load(info.inventory, None)
    hosts = tuple(host.name for host in cluster.group(fault.group))
    if not hosts:
        raise ConfigError(f"lab {info.name} has no host in group {fault.group}, which fault {fault.name} is for")
    hosts = hosts if fault.everywhere else hosts[:1]
    _require_lab_hosts(info, hosts)
    return hosts


def _require_lab_hosts(info: LabInfo, hosts: Sequence[str]) -> None:
    """Raises ConfigError for what is no container of this lab, StepError for one that doesn't run."""
    states = {str(row["Names"][0]): str(row["State"]) for row in podman.containers(info.name)}
    for host in hosts:
        if host not in states:
            raise ConfigError(
                f"{host} is not a host of lab {info.name}", why="faults are for container hosts that a lab made"
            )
        if states[host] != "running":
            raise StepError(f"{host} does not run ({states[host]})", fix=f"arena-install lab up {info.name}")


def _script(info: LabInfo, host: str, fault: Fault, part: str, script: str) -> None:
    done = _exec(info, host, fault, script)
    if done.returncode == 124:
        raise TimedOutError(
            f"{part} of fault {fault.name} did not end in {SCRIPT_TIMEOUT} s",
            where=f"host {host}",
            fix=_fix(info, fault),
        )
    if done.returncode != 0:
        raise StepError(
            f"{part} of fault {fault.name} ({fault.source}) ended with {done.returncode}",
            where=f"host {host}",
            why=podman.reason(done),
            fix=_fix(info, fault),
        )


def _until(info: LabInfo, host: str, fault: Fault, part: str, script: str) -> None:
    until = time.monotonic() + EFFECT_TIMEOUT
    while (done := _exec(info, host, fault, script)).returncode != 0:
        if time.monotonic() > until:
            raise TimedOutError(
                f"waited {EFFECT_TIMEOUT} s for `{part}` of fault {fault.name} ({fault.source})",
                where=f"host {host}",
                why=podman.reason(done),
                fix=_fix(info, fault),
            )
        time.sleep(1)


def _exec(info: LabInfo, host: str, fault: Fault, script: str) -> subprocess.CompletedProcess[str]:
    """Run it on the host as root, after what a killed command of ours may still run there for this fault.

    `timeout` is inside, since ending podman alone would leave the script running."""
    script = _PREAMBLE.read_text() + script
    environment = {"LAB": info.name, "KEPT": f"{_KEPT}/{fault.name}"}
    if info.host(host).role == "control_plane":
        environment["KUBECONFIG"] = _KUBECONFIG
    given = [argument for key, value in environment.items() for argument in ("--env", f"{key}={value}")]
    alone = ("flock", "--close", f"/run/arena-install-fault-{fault.name}.lock")
    bounded = ("timeout", "--kill-after=5", str(SCRIPT_TIMEOUT), "sh", "-c", script)
    return podman.attempt("exec", "--user", "root", *given, host, *alone, *bounded, timeout=2 * SCRIPT_TIMEOUT + 30)


def _fix(info: LabInfo, fault: Fault) -> str:
    return f"arena-install lab fault {fault.name} --name {info.name} --mend"


def _file(lab: str) -> Path:
    return folder(lab) / "faults.json"


def _save(lab: str, rows: Sequence[Active]) -> None:
    files.write(_file(lab), json.dumps([_row(row) for row in rows], indent=1) + "\n")


def _row(one: Active) -> dict[str, Any]:
    return {"fault": one.fault.model_dump(mode="json"), "hosts": one.hosts, "since": one.since}
