"""What runs in the cluster: components as Helm charts in a graph of needs. See docs/architecture.md."""

from __future__ import annotations

from arena_install.stack.graph import artifacts_of, catalogue, needed
from arena_install.stack.images import rendered_images
from arena_install.stack.install import Result, StackError, install
from arena_install.stack.uninstall import uninstall

__all__ = [
    "Result",
    "StackError",
    "artifacts_of",
    "catalogue",
    "install",
    "needed",
    "rendered_images",
    "uninstall",
]
