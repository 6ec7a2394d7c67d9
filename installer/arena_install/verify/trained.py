"""What a training job left, and whether each replica trained on the GPU that it was given: for jobs of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from arena_install.verify import pods
from arena_install.verify.checks.gpu_pods import compare
from arena_install.verify.context import Context
from arena_install.verify.records import records


@dataclass
class Training:
    """What a finished job left. pods: name -> node. logs: pod name -> records. assigned: pod name -> every set of UUIDs
    that PodResources named for it while it ran."""

    world: int
    pods: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    assigned: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [record for found in self.logs.values() for record in found if record["kind"] == kind]

    def first(self, pod: str, kind: str) -> dict[str, Any]:
        """A pod's first record of this kind, {} if it has none."""
        return next((record for record in self.logs.get(pod, ()) if record["kind"] == kind), {})

    def epochs(self) -> list[dict[str, Any]]:
        return sorted(self.all("epoch"), key=lambda record: int(record["epoch"]))


def gather(ctx: Context, namespace: str, nodes: Sequence[str], world: int) -> Training:
    """Of this check's pods in the namespace, while they are still there. nodes: those whose readers have watched."""
    done = Training(world)
    for replica in pods.found(ctx, namespace):
        name = str(replica["metadata"]["name"])
        done.pods[name] = replica["spec"].get("nodeName", "")
        done.logs[name] = records(ctx.kube.logs(namespace, name, replica["spec"]["containers"][0]["name"]))
    for node in nodes:
        for view in ctx.session.readers.history(ctx, node):
            for (space, pod), uuids in view.assigned.items():
                if space == namespace and pod in done.pods:
                    done.assigned.setdefault(pod, set()).add(uuids)
    ctx.save("podresources.json", {pod: sorted(map(list, sets)) for pod, sets in sorted(done.assigned.items())})
    return done


def identity(done: Training, replicas: Mapping[str, str], world: int) -> tuple[list[dict[str, Any]], list[str]]:
    """(a row for each replica, what is wrong). replicas: pod -> node of those that asked for one GPU each; world: how
    many they should be."""
    rows, problems = [], []
    for pod, node in sorted(replicas.items()):
        heard = done.first(pod, "gpus") or {"uuids": [], "error": "it reported nothing"}
        sets = done.assigned.get(pod, set())
        if len(sets) > 1:
            problems.append(f"PodResources named different GPUs for {pod} in one life: {sorted(sets)}")
        assigned = list(next(iter(sets), ()))
        rows.append(
            {"pod": pod, "node": node, "seen": heard["uuids"], "assigned": assigned, "error": heard.get("error", "")}
        )
        if len(heard["uuids"]) > 1:
            problems.append(f"{pod} asked for one GPU and sees {len(heard['uuids'])}")
    problems += compare(rows)
    everything = [uuid for row in rows for uuid in row["seen"]]
    if len(set(everything)) != len(everything):
        problems.append(f"{len(everything)} replicas share {len(set(everything))} GPUs")
    if len(rows) != world:
        problems.append(f"{len(rows)} of {world} replicas are known")
    return rows, problems
