"""Why one pod does not run, in plain words. Pure: the pod, its events and what it needs go in, the cause comes out.

The order is that of a pod's life: admitted, scheduled, volumes and network made, images pulled, init containers run,
containers run, ready. The first thing that did not happen is the cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from arena_install.diagnosis import pod_container, pod_sandbox, pod_schedule
from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.pod_view import PodView
from arena_install.diagnosis.view import Object, not_ready
from arena_install.stack.pods import event_text, pod_state


@dataclass(frozen=True)
class PodDiagnosis:
    """state: what the pod is, in a few words. broken: None where nothing is wrong with it."""

    namespace: str
    name: str
    state: str
    broken: Broken | None

    @property
    def exit_code(self) -> int:
        return 1 if self.broken else 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"exit_code": self.exit_code}


def diagnose_pod(view: PodView) -> PodDiagnosis:
    if view.status.get("phase") == "Succeeded":
        return PodDiagnosis(view.namespace, view.name, "has done its work", None)
    chain = (_going, pod_sandbox.admission, pod_schedule.judge, pod_sandbox.sandbox, pod_container.judge, _rest)
    broken = next((found for look in chain if (found := look(view))), None)
    state = pod_state(view.pod)
    return PodDiagnosis(view.namespace, view.name, "runs and is ready" if state.ready else state.reason, broken)


def never_made(namespace: str, name: str, events: Iterable[Object]) -> PodDiagnosis | None:
    """A pod that its maker could not create: events of kind FailedCreate of makers with such a name. None: no word."""
    said = [
        event
        for event in events
        if event.get("reason") in ("FailedCreate", "FailedCreatePod") and _akin(event["involvedObject"]["name"], name)
    ]
    if not said:
        return None
    last = said[-1]
    about, message = last["involvedObject"], " ".join(str(last.get("message", "")).split())
    maker = f"{about.get('kind')} {about.get('name')}"
    ask = Fix(f"kubectl -n {namespace} describe {str(about.get('kind', '')).lower()} {about.get('name')}")
    what = f"{maker} may not make it"
    if "exceeded quota" in message:
        quota = message.partition("exceeded quota: ")[2].partition(",")[0]
        what = f"{maker} may not make it: quota {quota} is used up"
        ask = Fix(f"kubectl -n {namespace} describe resourcequota {quota}")
    elif "PodSecurity" in message:
        what = f"{maker} may not make it: it breaks the namespace's Pod Security"
        ask = Fix(f"kubectl get namespace {namespace} --show-labels")
    elif "RuntimeClass" in message:
        what = f"{maker} may not make it: its RuntimeClass does not exist"
        ask = Fix("kubectl get runtimeclasses")
    return PodDiagnosis(namespace, name, "does not exist", Broken(what, (event_text(last),), (ask,)))


def _akin(maker: str, name: str) -> bool:
    return maker.startswith(name) or name.startswith(maker)


def _going(view: PodView) -> Broken | None:
    """Pods that are being deleted and don't go."""
    meta = view.pod["metadata"]
    if not meta.get("deletionTimestamp"):
        return None
    if holds := meta.get("finalizers"):
        ask = Fix(f"kubectl -n {view.namespace} get pod {view.name} -o yaml")
        return Broken(f"it is being deleted; its finalizers hold it: {', '.join(holds)}", ("Terminating",), (ask,))
    what = f"it is being deleted, and {view.node or 'nobody'} has not ended it yet"
    return Broken(what, (f"Terminating since {meta['deletionTimestamp']}",), (pod_sandbox.DOCTOR,))


def _rest(view: PodView) -> Broken | None:
    """Not ready, and nothing of its own says why."""
    state = pod_state(view.pod)
    if state.ready:
        return None
    node = next((n for n in view.nodes if n["metadata"]["name"] == view.node), None)
    if node is not None and (why := not_ready(node)):
        return Broken(f"its node {view.node} is not Ready", (why,), (pod_sandbox.DOCTOR,))
    last = tuple(event_text(event) for event in view.events[-1:])
    ask = Fix(f"kubectl -n {view.namespace} get pod {view.name} -w")
    if not view.node:
        return Broken("it has no node yet", last or ("no scheduler has looked at it yet",), (ask,))
    return Broken(f"it is being started on {view.node}: {state.reason}", last or (str(state),), (ask,))
