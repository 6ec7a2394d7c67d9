"""Objects that belong to no namespace and that a check makes: queues, priorities, HyperNodes.

They are taken away when the check ends, whatever happens, and what a killed run left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

from arena_install.errors import ArenaError
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, segment
from arena_install.verify.workspace import CHECK_LABEL, EXPIRES, RUN_LABEL, expired

_LIFETIME = 3600  # seconds after which an object belongs to a run that is dead
_GONE_WITHIN = 20.0  # seconds


def name(ctx: Context, part: str = "") -> str:
    """What a check calls an object of its own: the run, the check, and which one of it."""
    whole = f"arena-verify-{ctx.session.id}-{ctx.check.id.partition('.')[2]}"
    return f"{whole}-{part}" if part else whole


def metadata(ctx: Context, name: str) -> Object:
    return {
        "name": name,
        "labels": {RUN_LABEL: ctx.session.id, CHECK_LABEL: ctx.label},
        "annotations": {EXPIRES: str(int(time.time()) + _LIFETIME)},
    }


@contextlib.contextmanager
def made(ctx: Context, objects: Sequence[tuple[str, Object]], fix: str) -> Iterator[None]:
    """Make these, in this order, and take them away in the opposite one; objects: (path of the list, whole object).

    fix: the command to look at, where the API does not take one. Raises CheckFailed then.
    """
    for path in dict.fromkeys(path for path, _ in objects):
        sweep(ctx, path)
    paths = [f"{path}/{segment(body['metadata']['name'])}" for path, body in objects]
    try:
        for path, body in objects:
            try:
                ctx.kube.create(path, body)
            except ApiError as error:
                raise CheckFailed(f"the API took no {body['kind']}", cause=error.why, fix=fix) from error
        yield
    finally:
        if problem := _remove(ctx, paths[::-1]):
            ctx.progress(problem)


@contextlib.contextmanager
def priorities(
    ctx: Context, group: str, kind: str, values: Mapping[str, int], fix: str
) -> Iterator[dict[str, str]]:
    """An object of this kind, which ranks by its `value`, for each; gives their names by the keys of `values`.

    group: with its version. Raises CheckFailed as `made` does.
    """
    names = {key: name(ctx, key) for key in values}
    path = f"/apis/{group}/{kind.lower()}es"
    wanted = [
        (path, {"apiVersion": group, "kind": kind, "metadata": metadata(ctx, names[key]), "value": value})
        for key, value in values.items()
    ]
    with made(ctx, wanted, fix):
        yield names


def sweep(ctx: Context, path: str) -> None:
    """Remove what runs that are dead have left of the kind with this path."""
    for left in ctx.kube.items(path, labelSelector=RUN_LABEL):
        if expired(left):
            ctx.kube.delete(f"{path}/{segment(left['metadata']['name'])}")


def _remove(ctx: Context, paths: Sequence[str]) -> str:
    """All are told to go before any is waited for: a controller lets go of one when it has seen the other go. Returns
    what could not be done."""
    problems = []
    for path in paths:
        try:
            ctx.kube.delete(path)
        except ArenaError as error:
            problems.append(f"{path} could not be removed: {error.why or error.what}")
    until = time.monotonic() + _GONE_WITHIN
    with contextlib.suppress(ArenaError):
        while left := [path for path in paths if ctx.kube.find(path)]:
            if time.monotonic() > until:
                problems.append(f"{', '.join(left)} is still going; the next run removes it")
                break
            time.sleep(0.3)
    return "; ".join(problems)
