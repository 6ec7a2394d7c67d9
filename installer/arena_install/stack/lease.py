"""One writer at a time: a Lease in the cluster that expires by itself when its holder dies.

The flock on a controller keeps two of its own runs apart; this keeps apart two controllers. A holder that was killed
must not stand in the way of the next `up`: on the same machine its process is looked for, from another one it is given
the Lease's time for a sign of life.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from arena_install.errors import ArenaError, StepError
from arena_install.events import Emit, Event, ignore
from arena_install.stack.api import Api, ApiError
from arena_install.stack.ledger import NAMESPACE

_KIND, _NAME = ("coordination.k8s.io/v1", "Lease"), "arena-install"
_DURATION, _RENEW, _LOOK = 45, 10.0, 1.0  # seconds


@contextlib.asynccontextmanager
async def held(api: Api, emit: Emit = ignore) -> AsyncIterator[None]:
    """Hold the cluster's Lease, renewing it. Raises StepError naming the holder when another run has it and lives."""
    holder = _holder()
    await _acquire(api, holder, emit)
    renewing = asyncio.create_task(_renew(api, holder))
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        with contextlib.suppress(ArenaError):
            await asyncio.to_thread(_release, api, holder)


async def _acquire(api: Api, holder: str, emit: Emit) -> None:
    seen = ""
    while other := await asyncio.to_thread(_take, api, holder):
        if seen not in ("", other["renewTime"]) or other["holderIdentity"] == holder:
            raise StepError(
                "another arena-install is changing this cluster",
                why=f"{other['holderIdentity']} holds the Lease {NAMESPACE}/{_NAME} and renews it",
                fix="wait until it is done, then try again",
            )
        if not seen:
            text = f"{other['holderIdentity']} had the cluster; waiting {_DURATION} s at most for a sign of life"
            emit(Event("warning", "component/lease", text))
        seen = other["renewTime"]
        await asyncio.sleep(_LOOK)


async def _renew(api: Api, holder: str) -> None:
    while True:
        await asyncio.sleep(_RENEW)
        with contextlib.suppress(ArenaError):
            await asyncio.to_thread(_take, api, holder, True)


def _take(api: Api, holder: str, renew: bool = False) -> dict[str, Any] | None:
    """Take or renew; the other's Lease (its spec) where that is not over yet. The API server lets only one win."""
    found = api.get(*_KIND, _NAME, NAMESPACE)
    now = datetime.datetime.now(datetime.UTC)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec: dict[str, Any] = {"holderIdentity": holder, "leaseDurationSeconds": _DURATION, "renewTime": stamp}
    lease: dict[str, Any] = {
        "apiVersion": _KIND[0], "kind": _KIND[1], "metadata": {"name": _NAME, "namespace": NAMESPACE}, "spec": spec,
    }
    spec["acquireTime"] = stamp
    if found is not None:
        old: dict[str, Any] = found["spec"]
        mine = renew and old.get("holderIdentity") == holder
        if not mine and _left(old, now) > 0 and not _dead(str(old.get("holderIdentity"))):
            return old
        lease["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        spec["acquireTime"] = old.get("acquireTime", stamp) if mine else stamp
    try:
        if found is None:
            api.create(lease)
        else:
            api.request("PUT", api.path(*_KIND, NAMESPACE, _NAME), body=lease)
    except ApiError as error:
        if error.code != 409:
            raise
        now_there = api.get(*_KIND, _NAME, NAMESPACE)
        return now_there["spec"] if now_there else {**spec, "holderIdentity": "another run"}
    return None


def _holder() -> str:
    """Machine, its boot, and process: enough to tell whether a holder on this machine still lives."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}"


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return "0"


def _dead(holder: str) -> bool:
    machine, _, pid = holder.rpartition("/")
    if machine != f"{socket.gethostname()}/{_boot()}" or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _left(spec: dict[str, Any], now: datetime.datetime) -> float:
    """Seconds until a Lease expires; 0 or less when it has."""
    renewed = spec.get("renewTime")
    if not renewed:
        return 0.0
    at = datetime.datetime.fromisoformat(renewed.replace("Z", "+00:00"))
    return (at - now).total_seconds() + float(spec.get("leaseDurationSeconds") or 0)


def _release(api: Api, holder: str) -> None:
    found = api.get(*_KIND, _NAME, NAMESPACE)
    if found and found["spec"].get("holderIdentity") == holder:
        api.delete(*_KIND, _NAME, NAMESPACE)
