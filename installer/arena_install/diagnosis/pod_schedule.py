"""A pod that finds no node: not enough of something, taints, wishes that no node fulfils, volumes."""

from __future__ import annotations

from arena_install.diagnosis.model import Broken, Fix
from arena_install.diagnosis.pod_view import PodView, holders, requested
from arena_install.diagnosis.view import GPU, Object
from arena_install.podwords import insufficient, scheduler_said


def judge(view: PodView) -> Broken | None:
    """None for a pod that has a node, or none only because nobody has looked yet."""
    conditions = [row for row in view.status.get("conditions") or () if row["type"] == "PodScheduled"]
    if view.node or not conditions or conditions[0].get("status") != "False":
        return None
    condition = conditions[0]
    said = scheduler_said(str(condition.get("message", "")))
    if condition.get("reason") == "SchedulingGated":
        gates = ", ".join(gate["name"] for gate in view.pod["spec"].get("schedulingGates") or ())
        ask = Fix(f"kubectl -n {view.namespace} get events --field-selector involvedObject.name={view.name}")
        return Broken(f"it waits for a gate to open: {gates or 'unknown'}", (said or "SchedulingGated",), (ask,))
    if volume := _volumes(view, said):
        return volume
    short = insufficient(said)
    if GPU in short:
        return _gpus(view, said)
    if short:
        return _resources(view, said, sorted(short))
    if "node affinity/selector" in said:
        return _affinity(view, said)
    if "untolerated taint" in said or "were unschedulable" in said:
        return _taints(view, said)
    ask = Fix(f"kubectl -n {view.namespace} describe pod {view.name}")
    return Broken("no node takes it", (said or "the scheduler has not said why",), (ask,))


def _gpus(view: PodView, said: str) -> Broken:
    wanted = requested(view.pod, GPU)
    largest = max((_amount(node, "allocatable") for node in view.nodes), default=0)
    seen = [said, *(_shares(view, node) for node in view.nodes if _amount(node, "capacity"))]
    if wanted > largest:
        what = f"it wants {wanted} GPUs, and no node has so many to give (at most {largest})"
        return Broken(what, tuple(seen), view.edit(f"ask for at most {largest} {GPU}") if largest else (_doctor(),))
    free = sum(max(0, _amount(n, "allocatable") - _held(view, n)) for n in view.nodes)
    total = sum(_amount(node, "allocatable") for node in view.nodes)
    what = f"not enough free GPUs: it wants {wanted} on one node, {free} of {total} are free"
    held = [one for node in view.nodes for one in holders(view, node["metadata"]["name"])]
    if not held:
        return Broken(what, tuple(seen), (_doctor(),))
    namespace, _, name = held[0][0].partition("/")
    wait = Fix("wait until one of these pods ends, or end one that is not needed:", sentence=True)
    return Broken(what, tuple(seen), (wait, Fix(f"kubectl -n {namespace} delete pod {name}")))


def _shares(view: PodView, node: Object) -> str:
    name = node["metadata"]["name"]
    held = ", ".join(f"{pod} ({count})" for pod, count in holders(view, name)) or "nobody"
    lost = _amount(node, "capacity") - _amount(node, "allocatable")
    sick = f", {lost} of its {_amount(node, 'capacity')} not usable" if lost else ""
    return f"{name}: {_held(view, node)} of {_amount(node, 'allocatable')} GPUs held by {held}{sick}"


def _held(view: PodView, node: Object) -> int:
    return sum(count for _, count in holders(view, node["metadata"]["name"]))


def _amount(node: Object, key: str) -> int:
    return int(node["status"].get(key, {}).get(GPU, 0))


def _doctor() -> Fix:
    return Fix("arena-install doctor")


def _resources(view: PodView, said: str, short: list[str]) -> Broken:
    first = short[0]
    wants = [str(_request(row, first)) for row in view.pod["spec"]["containers"] if _request(row, first)]
    has = [f"{n['metadata']['name']} has {n['status'].get('allocatable', {}).get(first, '0')}" for n in view.nodes]
    what = f"no node has enough {' and '.join(short)} left: it wants {' + '.join(wants) or 'some'} {first}"
    return Broken(what, (said, f"{first} in all: {', '.join(has)}"), view.edit(f"ask for less {first}"))


def _request(container: Object, resource: str) -> object:
    resources = container.get("resources", {})
    return (resources.get("requests") or {}).get(resource) or (resources.get("limits") or {}).get(resource)


def _affinity(view: PodView, said: str) -> Broken:
    spec = view.pod["spec"]
    selector = spec.get("nodeSelector") or {}
    wants = ", ".join(f"{key}={value}" for key, value in selector.items()) or "its node affinity"
    fitting = [
        node["metadata"]["name"]
        for node in view.nodes
        if selector and selector.items() <= (node["metadata"].get("labels") or {}).items()
    ]
    if fitting and (broken := _taints(view, said, fitting)):
        return broken
    if not selector:
        return Broken(f"no node is as it wants: {wants}", (said,), view.edit("correct its affinity"))
    label = Fix(f"kubectl label node NODE {' '.join(f'{key}={value}' for key, value in selector.items())}")
    choice = Fix("correct nodeSelector, or give a node the label:", sentence=True)
    return Broken(f"no node is as it wants: {wants}", (said,), (choice, label))


def _taints(view: PodView, said: str, names: list[str] | None = None) -> Broken:
    """names: only these nodes come into question."""
    taints = [
        (node["metadata"]["name"], taint)
        for node in view.nodes
        if names is None or node["metadata"]["name"] in names
        for taint in node["spec"].get("taints") or ()
        if taint["effect"] != "PreferNoSchedule"
    ]
    told = tuple(f"{name}: taint {taint['key']}:{taint['effect']}" for name, taint in taints)
    cordoned = [name for name, taint in taints if taint["key"] == "node.kubernetes.io/unschedulable"]
    if cordoned:
        uncordon = Fix(f"kubectl uncordon {cordoned[0]}")
        return Broken("the nodes that it could run on are cordoned", (said, *told), (uncordon,))
    if any(taint["key"].startswith("node.kubernetes.io/") for _, taint in taints):
        return Broken("the nodes that it could run on are not well", (said, *told), (_doctor(),))
    key = taints[0][1]["key"] if taints else "the taint"
    where = f" {', '.join(names)}" if names else ""
    what = f"it does not tolerate the taint of the nodes that it could run on{':' if where else ''}{where}"
    return Broken(what, (said, *told), view.edit(f"add a toleration of {key}"))


def _volumes(view: PodView, said: str) -> Broken | None:
    for name, claim in view.claims.items():
        if claim is None:
            made = Fix("make it, or name one that is there:", sentence=True)
            ask = Fix(f"kubectl -n {view.namespace} get persistentvolumeclaims")
            return Broken(f"its volume claim {name} does not exist", (said,), (made, ask))
        if claim.get("status", {}).get("phase") == "Bound" or "PersistentVolumeClaim" not in said:
            continue
        wanted = claim["spec"].get("storageClassName")
        about = [event for event in view.claim_events if event["involvedObject"].get("name") == name]
        told = tuple(" ".join(str(event.get("message", "")).split()) for event in about[-1:])
        if wanted and wanted not in view.storage_classes:
            has = ", ".join(view.storage_classes) or "none"
            again = (
                Fix(f"set storageClassName of claim {name} to one of: {has}", sentence=True),
                Fix(f"kubectl -n {view.namespace} delete persistentvolumeclaim {name}  # and make it again"),
            )
            what = f"its volume claim {name} wants StorageClass {wanted}, which does not exist"
            return Broken(what, (said, *told), again)
        ask = Fix(f"kubectl -n {view.namespace} describe persistentvolumeclaim {name}")
        return Broken(f"its volume claim {name} has no volume yet", (said, *told), (ask,))
    return None
