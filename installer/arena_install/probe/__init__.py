"""What is there: one read-only look at every host, as Facts.

`probe(cluster, emit)` is the whole interface; `Facts` and what it is made of are its data. Imports are late because the
child process (probe/child.py) lives in this package and must start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arena_install.probe.facts import (
    Facts,
    Finding,
    HostFacts,
    LedgerItem,
    LedgerRecord,
    Unreachable,
)

if TYPE_CHECKING:
    from arena_install.probe.runner import probe

__all__ = ["Facts", "Finding", "HostFacts", "LedgerItem", "LedgerRecord", "Unreachable", "probe"]


def __getattr__(name: str) -> Any:
    if name == "probe":
        from arena_install.probe.runner import probe

        return probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
