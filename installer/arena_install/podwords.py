"""How Kubernetes says that a pod does not start. Both commands read it: the operator's doctor and the user's `get`."""

from __future__ import annotations

import re

#: Reasons of a container that waits for its image.
PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")
#: The kubelet's word for a Secret or ConfigMap: (kind, name).
MISSING = re.compile(r'(secret|configmap) "([^"]+)" not found')

_PREEMPTION = re.compile(r"\s*(no new claims to deallocate, )?preemption: .*$")
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]+)")


def scheduler_said(message: str) -> str:
    """Without what it says of preemption."""
    return _PREEMPTION.sub("", message).rstrip(". ")


def insufficient(message: str) -> set[str]:
    """Resources of which no node has enough."""
    return {found.rstrip(".") for found in _INSUFFICIENT.findall(message)}
