"""Run one playbook as a child process and hear of it line by line.

The child is a process group of its own, so that an interrupt or our death takes all of Ansible along (the kernel
sends SIGTERM when we die); it inherits the cluster's lock, so a second `up` waits until a killed one's children are
really gone. Everything it said is kept in the run folder: ansible.log (its own words) and events.jsonl.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena_install import events, paths
from arena_install.apply.sockets import control_folder
from arena_install.errors import ArenaError, StepError, UnreachableError
from arena_install.events import Emit, Event
from arena_install.inventory.ansible import home
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.load import overlay

_PR_SET_PDEATHSIG = 1


@dataclass
class Outcome:
    """changed: host -> number of changed tasks. failures: events of failed or unreachable tasks, in order."""

    changed: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # role -> wall time


def run_playbook(
    cluster: Cluster,
    playbook: str,
    extra: Mapping[str, Any],
    defaults: Mapping[str, Any],
    run: Path,
    emit: Emit,
    *,
    inherit: Sequence[int] = (),
) -> Outcome:
    """Run playbooks/<playbook> against the cluster's inventory.

    extra: variables that stand above all others. defaults: variables that the inventory may override. inherit: file
    descriptors the child keeps open.

    Raises UnreachableError when a host stopped answering, StepError when a task failed; both name host, role, task,
    file:line and what the task said.
    """
    if cluster.inventory is None:
        raise ValueError("a playbook needs an inventory")
    run.mkdir(parents=True, exist_ok=True)
    vars_file = run / "vars.json"
    _write_private(vars_file, json.dumps(extra, indent=1, default=str))
    before = run / "defaults.yml"  # an inventory source of its own, before the user's, so that the user's wins
    _write_private(before, json.dumps({"all": {"vars": dict(defaults)}}, indent=1, default=str))
    groups = run / "groups.yml"  # our groups by their own names, whatever the user calls them
    _write_private(groups, json.dumps(overlay(cluster), indent=1, default=str))
    read_end, write_end = os.pipe()
    data = paths.data_dir()
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(before),
        "-i",
        str(cluster.inventory),
        "-i",
        str(groups),
        "-e",
        f"@{vars_file}",
        str(data / "playbooks" / playbook),
    ]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(data / "playbooks" / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(data / "roles"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
        "ANSIBLE_STDOUT_CALLBACK": "arena_events",
        "ANSIBLE_FORKS": str(max(5, min(50, len(cluster.hosts)))),
        "ANSIBLE_NOCOLOR": "1",
        "ARENA_EVENTS_FD": str(write_end),
        "LC_ALL": "C.UTF-8",
    }
    tracker = _Tracker(emit)
    with control_folder(cluster.inventory) as sockets, (run / "ansible.log").open("ab") as log:
        environment |= {"ANSIBLE_LOCAL_TEMP": tempfile.gettempdir(), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets)}
        environment |= home(Path(tempfile.gettempdir()))
        child = subprocess.Popen(
            command,
            cwd=data,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end, *inherit),
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        os.close(write_end)
        reader = threading.Thread(target=_read, args=(read_end, tracker, run / "events.jsonl"), daemon=True)
        reader.start()
        try:
            code = child.wait()
        except BaseException:
            stop_group(child)
            raise
        finally:
            reader.join(timeout=10)
            tracker.close()
            vars_file.unlink(missing_ok=True)
    if tracker.outcome.failures or code != 0:
        raise _error(tracker.outcome, code, run / "ansible.log")
    return tracker.outcome


def stop_group(child: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """End a child and all it started: SIGTERM to its group, SIGKILL after `patience` seconds."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
        except ProcessLookupError:
            return
        try:
            child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)


def _read(descriptor: int, tracker: _Tracker, copy: Path) -> None:
    with os.fdopen(descriptor, "r", errors="replace") as lines, copy.open("a") as out:
        for line in lines:
            out.write(line)
            try:
                tracker.take(json.loads(line))
            except json.JSONDecodeError:
                continue


class _Tracker:
    """Turns Ansible's events into steps "role/<role>": one step per role, its tasks as progress."""

    def __init__(self, emit: Emit) -> None:
        self._emit, self._role, self._began, self._changed = emit, "", 0.0, False
        self._failed = False
        self.outcome = Outcome()

    def take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "task":
            self._enter(event["role"], event["time"])
            if self._role:
                self._emit(Event("progress", f"role/{self._role}", event["task"]))
        elif kind == "ok" and event["changed"]:
            self._changed = True
            host = event["host"]
            self.outcome.changed[host] = self.outcome.changed.get(host, 0) + 1
            self._log("changed", event)
            for item in event.get("recorded_anew", ()):
                text = f"{event['host']}: {item} is not what it was, and is recorded as it is now"
                self._emit(Event("warning", f"role/{self._role}", text))
        elif kind == "retry":
            self._emit(
                Event("waiting", f"role/{self._role}", f"{event['host']}: {event['task']} ({event.get('attempt')})")
            )
        elif kind in ("failed", "unreachable") and not event.get("ignored"):
            self._failed = True
            self.outcome.failures.append(event)
            self._log(kind, event)
        elif kind == "stats":
            self._leave(event["time"])

    def close(self) -> None:
        if self._role:
            self._failed = True
            self._leave(self._began)

    def _log(self, kind: str, event: dict[str, Any]) -> None:
        self._emit(Event("log", f"role/{self._role}", f"{kind}: {event['host']}: {event['task']}"))

    def _enter(self, role: str, now: float) -> None:
        # Roles that others include (the ledger) belong to the role that includes them.
        if role in (self._role, "ledger") or not role:
            return
        self._leave(now)
        self._role, self._began, self._changed = role, now, False
        self._emit(Event("start", f"role/{role}"))

    def _leave(self, now: float) -> None:
        if not self._role:
            return
        seconds = max(0.0, now - self._began)
        self.outcome.seconds[self._role] = self.outcome.seconds.get(self._role, 0.0) + seconds
        how: events.Outcome = "failed" if self._failed else "changed" if self._changed else "ok"
        self._emit(Event("end", f"role/{self._role}", "", how, {"seconds": seconds}))
        self._role = ""


def _error(outcome: Outcome, code: int, log: Path) -> ArenaError:
    if not outcome.failures:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        return StepError(f"ansible-playbook ended with {code}", why=tail, fix=f"read {log}")
    first = outcome.failures[0]
    said = first.get("result", {})
    parts = [said.get(key, "") for key in ("msg", "reason", "stderr", "stdout")]
    parts += [f"{item.get('item', '')}: {item.get('msg', '')}" for item in said.get("items", ())]
    why = "\n".join(dict.fromkeys(line for part in parts for line in part.strip().splitlines()[-12:]))
    hosts = sorted({event["host"] for event in outcome.failures})
    kind = UnreachableError if first["event"] == "unreachable" else StepError
    return kind(
        f"{first['role'] or 'playbook'}: {first['task']}",
        where=f"host {', '.join(hosts)}",
        why=f"{why}\n({first['path']})",
        fix="mend it and run the same command again: what is done is kept",
    )
