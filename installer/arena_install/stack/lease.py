"""One writer at a time: a Lease in the cluster that expires by itself when its holder dies.

The flock on a controller keeps two of its own runs apart; this keeps apart two controllers.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

from arena_install.errors import ArenaError, StepError
from arena_install.stack.api import Api, ApiError
from arena_install.stack.ledger import NAMESPACE

_KIND, _NAME = ("coordination.k8s.io/v1", "Lease"), "arena-install"
_DURATION, _RENEW = 60, 15.0  # seconds


@contextlib.asynccontextmanager
async def held(api: Api) -> AsyncIterator[None]:
    """Hold the cluster's Lease, renewing it. Raises StepError naming the holder when another run has it."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    await asyncio.to_thread(_take, api, holder)
    renewing = asyncio.create_task(_renew(api, holder))
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError, ArenaError):
            await renewing
        with contextlib.suppress(ArenaError):
            await asyncio.to_thread(_release, api, holder)


async def _renew(api: Api, holder: str) -> None:
    while True:
        await asyncio.sleep(_RENEW)
        with contextlib.suppress(ArenaError):
            await asyncio.to_thread(_take, api, holder)


def _take(api: Api, holder: str) -> None:
    """Take or renew. Two that try at once are told apart by the API server: one of them gets a conflict."""
    found = api.get(*_KIND, _NAME, NAMESPACE)
    now = datetime.datetime.now(datetime.UTC)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec: dict[str, Any] = {"holderIdentity": holder, "leaseDurationSeconds": _DURATION, "renewTime": stamp}
    lease: dict[str, Any] = {
        "apiVersion": _KIND[0], "kind": _KIND[1], "metadata": {"name": _NAME, "namespace": NAMESPACE}, "spec": spec,
    }
    if found is None:
        spec["acquireTime"] = stamp
    else:
        other = found["spec"].get("holderIdentity") or ""
        left = _left(found["spec"], now)
        if other not in ("", holder) and left > 0:
            raise _busy(other, left)
        lease["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        spec["acquireTime"] = found["spec"].get("acquireTime", stamp) if other == holder else stamp
    try:
        if found is None:
            api.create(lease)
        else:
            api.request("PUT", api.path(*_KIND, NAMESPACE, _NAME), body=lease)
    except ApiError as error:
        if error.code == 409:
            raise _busy("another run", _DURATION) from error
        raise


def _left(spec: dict[str, Any], now: datetime.datetime) -> float:
    """Seconds until a Lease expires; 0 or less when it has."""
    renewed = spec.get("renewTime")
    if not renewed:
        return 0.0
    at = datetime.datetime.fromisoformat(renewed.replace("Z", "+00:00"))
    return (at - now).total_seconds() + float(spec.get("leaseDurationSeconds") or 0)


def _busy(other: str, left: float) -> StepError:
    return StepError(
        "another arena-install is changing this cluster",
        why=f"{other} holds the Lease {NAMESPACE}/{_NAME}; without a sign of life it ends in {left:.0f} s",
        fix="wait until it is done, then try again",
    )


def _release(api: Api, holder: str) -> None:
    found = api.get(*_KIND, _NAME, NAMESPACE)
    if found and found["spec"].get("holderIdentity") == holder:
        api.delete(*_KIND, _NAME, NAMESPACE)
