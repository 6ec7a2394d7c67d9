"""A pod that has a node and does not start there: refused by the kubelet, no volume, no network, no runtime."""

from __future__ import annotations

import re

from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.pod_view import PodView, holders, requested
from arena_install.diagnosis.view import GPU
from arena_install.podwords import MISSING

DOCTOR = Fix("arena-install doctor")
_HANDLER = re.compile(r'no runtime for "([^"]+)" is configured')


def admission(view: PodView) -> Broken | None:
    """The kubelet would not have it, or has put it out; such a pod stays as it is for ever."""
    reason, said = str(view.status.get("reason", "")), str(view.status.get("message", ""))
    if view.status.get("phase") != "Failed" or not reason:
        return None
    again = Fix(f"kubectl -n {view.namespace} delete pod {view.name}  # what made it makes it anew")
    if reason in ("UnexpectedAdmissionError", f"OutOf{GPU}") and GPU in said + reason:
        held = ", ".join(f"{pod} ({count})" for pod, count in holders(view, view.node)) or "nobody"
        what = f"the kubelet of {view.node} did not give it {requested(view.pod, GPU)} GPUs ({reason})"
        return Broken(what, (said, f"GPUs of {view.node} are held by: {held}"), (DOCTOR, again))
    if reason == "Evicted":
        return Broken(f"it was evicted from {view.node}", (said,), (DOCTOR, again))
    return Broken(f"the kubelet of {view.node} refused it: {reason}", (said or reason,), (DOCTOR, again))


def sandbox(view: PodView) -> Broken | None:
    """Volumes, then the sandbox with its network; judged by events, as long as no container was started."""
    if not view.node or _started(view):
        return None
    if said := view.last("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        return _mount(view, said)
    if not (said := view.last("FailedCreatePodSandBox")):
        return None
    if match := _HANDLER.search(said):
        name = view.pod["spec"].get("runtimeClassName", match[1])
        what = f"its RuntimeClass {name} means the runtime {match[1]}, which containerd on {view.node} does not have"
        fixes = (DOCTOR,) if match[1] == "nvidia" else view.edit("name another runtimeClassName, or none")
        return Broken(what, (said,), fixes)
    if "cni" in said.lower() or "network" in said.lower():
        what = f"its sandbox gets no network: the pod network (CNI) of {view.node} is broken"
        return Broken(what, (said,), (DOCTOR,))
    return Broken(f"containerd on {view.node} can't make its sandbox", (said,), (DOCTOR,))


def _mount(view: PodView, said: str) -> Broken:
    if match := MISSING.search(said):
        kind, name = match.groups()
        return Broken(f"the {kind} {name} that it mounts does not exist", (said,), (view.make(kind, name),))
    ask = Fix(f"kubectl -n {view.namespace} describe pod {view.name}")
    return Broken(f"a volume can't be mounted on {view.node}", (said,), (ask,))


def _started(view: PodView) -> bool:
    statuses = [*(view.status.get("initContainerStatuses") or ()), *(view.status.get("containerStatuses") or ())]
    return any(row.get("restartCount") or {"running", "terminated"} & set(row.get("state") or ()) for row in statuses)
