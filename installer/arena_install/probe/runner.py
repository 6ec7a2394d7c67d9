"""Looks at all hosts of a cluster at once: sends the script through a child process, and gathers Facts.

The child (probe/child.py) is a process of its own because pyinfra runs on gevent. It starts importing while ssh's
settings are still being read here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arena_install import paths
from arena_install.errors import ConfigError, StepError
from arena_install.events import Emit, Event
from arena_install.inventory.cluster import Cluster
from arena_install.probe.facts import Facts, HostFacts, Unreachable, UnreachableKind
from arena_install.probe.findings import find
from arena_install.probe.parse import parse
from arena_install.probe.ssh import Route, routes, secrets_of
from arena_install.probe.unreachable import unreachable

#: The parts of the script; the last one runs it.
SCRIPTS = ("gpu.sh", "services.sh", "upkeep.sh", "probe.sh")
#: For the child's imports, on top of the time that the hosts are given.
_STARTUP = 30.0


def probe(cluster: Cluster, emit: Emit, timeout: float = 30) -> Facts:
    """Look at every host of `cluster` and write to none of them.

    timeout: seconds for each host, all run at once. Never raises for a host: one that can't be looked at is an
    Unreachable in Facts.hosts. Emits one step a host, "probe/NAME". Raises StepError if the probe itself can't run.
    """
    if not cluster.hosts:
        return Facts()
    for host in cluster.hosts:
        emit(Event("start", f"probe/{host.name}", f"look at {host.name}"))
    began = time.monotonic()
    hosts: dict[str, HostFacts | Unreachable] = {}

    def ended(name: str, result: HostFacts | Unreachable) -> None:
        hosts[name] = result
        bad = isinstance(result, Unreachable)
        text = result.what if isinstance(result, Unreachable) else _summary(result)
        emit(Event("end", f"probe/{name}", text, "failed" if bad else "ok", {"seconds": time.monotonic() - began}))

    try:
        with _child(any(host.vars.get("ansible_connection") != "local" for host in cluster.hosts)) as child:
            ways = routes(cluster)
            good = {name: way for name, way in ways.items() if isinstance(way, Route)}
            for name, way in ways.items():
                if isinstance(way, ConfigError):
                    ended(name, _unusable(name, way))
            for name, answer in child.ask(good, timeout):
                ended(name, _result(good[name], answer, timeout))
    except BaseException:
        for host in cluster.hosts:
            if host.name not in hosts:
                emit(Event("end", f"probe/{host.name}", "not looked at", "failed"))
        raise
    ordered = {host.name: hosts[host.name] for host in cluster.hosts}
    return Facts(ordered, find(cluster, ordered))


def script() -> str:
    """The text sent to each host: the probe's own, with the ledger's reader inside. @NONCE@ is replaced per host."""
    observe = paths.data_dir() / "roles/ledger/files/observe.sh"
    try:
        reader = observe.read_text()
    except OSError as error:
        raise StepError(
            "the installation is incomplete",
            where=str(observe),
            why=str(error.strerror),
            fix="install arena-install again",
        ) from error
    return compose(reader)


def compose(reader: str) -> str:
    """reader: a POSIX-sh text that turns "kind|name" lines into "kind|name|state" lines."""
    own = "\n".join(Path(__file__).with_name(name).read_text() for name in SCRIPTS)
    return f"PROBE_NONCE=@NONCE@\nprobe_observe() (\n{reader}\n)\n{own}"


class _Child:
    """The running child; `ask` may be called once."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, said: Path) -> None:
        self._process, self._folder, self._said = process, folder, said

    def ask(self, ways: dict[str, Route], timeout: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """(host, the child's line) as they come in; every host exactly once."""
        if not ways:
            return
        request = {
            "timeout": timeout,
            "folder": str(self._folder),
            "script": script(),
            "hosts": [way.as_request() for way in ways.values()],
        }
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        deadline = time.monotonic() + timeout + _STARTUP
        secrets, left = secrets_of(ways.values()), set(ways)
        while left:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                for name in left:
                    yield name, {"kind": "timeout", "detail": ""}
                return
            if not line:
                raise self._died()
            answer = json.loads(line)
            for secret in secrets:
                answer["detail"] = answer.get("detail", "").replace(secret, "***")
            left.discard(answer["host"])
            yield answer["host"], answer

    def _read(self, lines: queue.Queue[str]) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            lines.put(line)
        lines.put("")

    def _died(self) -> StepError:
        self._process.wait(5)
        tail = "\n".join(self._said.read_text(errors="replace").splitlines()[-5:])
        return StepError(
            "the probe's process ended early",
            why=tail or f"exit status {self._process.returncode}",
            fix="reinstall the Python packages of arena-install; pyinfra and gevent must import",
        )


@contextmanager
def _child(over_ssh: bool) -> Iterator[_Child]:
    """Start the child, with a private folder for its known_hosts; both are gone afterwards."""
    source = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory(prefix="arena-probe-") as name:
        folder = Path(name)
        said = folder / "stderr"
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "arena_install.probe.child", *(["--ssh"] if over_ssh else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": path},
            )
        try:
            yield _Child(process, folder, said)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(2)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except OSError:
                        pass


def _result(way: Route, answer: dict[str, Any], timeout: float) -> HostFacts | Unreachable:
    if "output" in answer:
        return parse(answer["output"], answer["clock"])
    kind: UnreachableKind = answer["kind"]
    return unreachable(kind, answer["detail"], way.fields(timeout))


def _unusable(name: str, error: ConfigError) -> Unreachable:
    fix = error.fix or f"correct the settings of {name} in the inventory"
    return Unreachable(
        "settings",
        error.what,
        f"host {name}" + (f" ({error.where})" if error.where else ""),
        error.why or "its connection settings can't be used",
        fix,
    )


def _summary(facts: HostFacts) -> str:
    kind = facts.virt_kind or "bare metal"
    return f"{facts.os.id} {facts.os.version}, {kind}, {facts.cpus} CPUs, {facts.memory / 1024:.0f} GiB"
