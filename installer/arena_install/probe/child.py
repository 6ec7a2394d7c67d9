"""The process that connects: pyinfra runs on gevent, which patches the whole process, so it gets one of its own.

stdin: one line of JSON, {"timeout": s, "script": text, "folder": path, "hosts": [Route, ...]}, then nothing until the
parent goes away (end of file ends this process too). stdout: one JSON line a host, in the order in which they finish:
{"host", "output", "clock": [[remote, sent, received], ...], "seconds"} or {"host", "kind", "detail"}.
"""

# gevent and pyinfra carry no types.
# mypy: allow-untyped-calls

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import contextlib
import json
import os
import random
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.os import tp_read
from gevent.pool import Pool

from arena_install.probe import connection
from arena_install.probe.exchange import Failure, LocalChannel, SshChannel, command, exchange

_AT_ONCE = 8  # logins begun at one time at one sshd: its MaxStartups drops connections from 10 on
_HOSTS_AT_ONCE = 128
_GATE_SECONDS = 2.0


class Probe:
    """One request: every host of it once."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.timeout: float = request["timeout"]
        self.script: str = request["script"]
        self.routes: list[dict[str, Any]] = request["hosts"]
        self._folder = Path(request["folder"])
        self._gates: dict[Any, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(_AT_ONCE))
        self._prepared: dict[str, connection.Prepared | Failure] = {}

    def prepare(self) -> None:
        """Make pyinfra's inventory of all SSH hosts. A host whose key file is of no use gets no place in it."""
        ways = [route for route in self.routes if not route["local"]]
        if ways:
            self._prepared = connection.prepare(ways, self._folder, self.timeout)

    def look(self, route: dict[str, Any]) -> dict[str, Any]:
        """One host's line. Never raises."""
        began = time.monotonic()
        stage = ["connect"]
        try:
            with gevent.Timeout(self.timeout):
                result = self._local(route, stage) if route["local"] else self._ssh(route, stage)
            return {"host": route["name"], "seconds": time.monotonic() - began, **result}
        except gevent.Timeout:
            return {"host": route["name"], "kind": "timeout" if stage[-1] == "connect" else "slow", "detail": ""}
        except Failure as failure:
            return {"host": route["name"], "kind": failure.kind, "detail": failure.detail}
        except Exception as error:  # whatever it is, the other hosts' answers stand
            return {"host": route["name"], "kind": "other", "detail": f"{type(error).__name__}: {error}"}

    def _ssh(self, route: dict[str, Any], stage: list[str]) -> dict[str, Any]:
        prepared = self._prepared[route["name"]]
        if isinstance(prepared, Failure):
            raise prepared
        with contextlib.ExitStack() as stack:
            transport = self._login(route, prepared, stack)
            stage.append("ask")
            nonce, started = secrets.token_hex(8), time.time()
            channel = SshChannel(transport, command(route, nonce), self.timeout)
            stack.callback(channel.close)
            return exchange(channel, route, self.script.replace("@NONCE@", nonce), nonce, started)

    def _login(self, route: dict[str, Any], prepared: connection.Prepared, stack: contextlib.ExitStack) -> Any:
        """Log in, a few at a time at each sshd; one that hangs up may just be busy, so it is asked again."""
        gate = self._gates[route["jump"] or (route["hostname"], route["port"])]
        for pause in (0.5, 1.0, 2.0, None):
            try:
                with _held(gate):
                    return stack.enter_context(connection.connected(route, prepared))
            except Failure as failure:
                busy = failure.kind == "closed" or "kex_exchange_identification" in failure.detail
                if pause is None or not busy:
                    raise
                gevent.sleep(pause * (1 + random.random()))
        return None

    def _local(self, route: dict[str, Any], stage: list[str]) -> dict[str, Any]:
        stage.append("ask")
        nonce, started = secrets.token_hex(8), time.time()
        channel = LocalChannel(command(route, nonce))
        try:
            return exchange(channel, route, self.script.replace("@NONCE@", nonce), nonce, started)
        finally:
            channel.close()


@contextlib.contextmanager
def _held(gate: BoundedSemaphore) -> Iterator[None]:
    """Hold a place while logging in, but not for long: a dead host behind a jump host must not hold up the others."""
    gate.acquire()
    left = [gate.release]

    def leave() -> None:
        if left:
            left.pop()()

    timer = gevent.spawn_later(_GATE_SECONDS, leave)
    try:
        yield
    finally:
        timer.kill()
        leave()


def _request() -> dict[str, Any]:
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = tp_read(0, 1 << 20)
        if not chunk:
            os._exit(2)
        line.extend(chunk)
    request: dict[str, Any] = json.loads(line)
    return request


def _leave_with_parent() -> None:
    while tp_read(0, 4096):
        pass
    os._exit(3)


def main() -> None:
    import logging

    if "--ssh" in sys.argv:
        # Imported while the parent still asks ssh for the settings.
        import pyinfra.connectors.ssh  # noqa: F401

    logging.disable(logging.CRITICAL)  # pyinfra's and paramiko's; what matters comes back as a line
    probe = Probe(_request())
    gevent.spawn(_leave_with_parent)
    probe.prepare()

    def work(route: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(probe.look(route)) + "\n")
        sys.stdout.flush()

    pool = Pool(_HOSTS_AT_ONCE)
    for route in probe.routes:
        pool.spawn(work, route)
    pool.join()
    sys.stdout.flush()
    os._exit(0)  # paramiko's threads and the reader of stdin have nothing left to do


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        os._exit(130)
