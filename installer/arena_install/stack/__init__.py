"""What runs in the cluster: components as Helm charts in a graph of needs. See docs/architecture.md."""

from __future__ import annotations

from arena_install.stack.graph import catalogue, needed
from arena_install.stack.images import rendered_images
from arena_install.stack.inspect import inspect
from arena_install.stack.install import Result, StackError, install
from arena_install.stack.ledger import read as installed
from arena_install.stack.uninstall import check, uninstall
from arena_install.stack.values import artifacts_of
from arena_install.stack.wishes import wishes

__all__ = [
    "Result",
    "StackError",
    "artifacts_of",
    "catalogue",
    "check",
    "inspect",
    "install",
    "installed",
    "needed",
    "rendered_images",
    "uninstall",
    "wishes",
]
