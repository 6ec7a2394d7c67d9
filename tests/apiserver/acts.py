"""What tests of the stack do all the time."""

from __future__ import annotations

from typing import Any

from shelf import Shelf, cluster

from arena_install.stack import Result, install, wishes
from arena_install.stack.api import Api

GOOD, BROKEN = "docker.io/library/busybox:1.37.0", "docker.io/library/broken:1"


def put(shelf: Shelf, api: Api, *names: str, **config: Any) -> dict[str, Result]:
    """Install what is on the shelf, or these components of it."""
    shelf.events.clear()
    wish = cluster(**config)
    wanted = wishes(wish, names or tuple(shelf.rows), shelf.digest, rows=shelf.rows)
    return install(wish, api.kubeconfig, shelf, wanted, shelf.events.append, evidence=shelf.evidence)


def outcomes(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.outcome for name, result in results.items()}
