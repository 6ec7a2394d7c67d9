"""Gathers what a diagnosis needs: the hosts by the probe, the cluster by its API, both at once. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from arena_install import probe
from arena_install.diagnosis import ClusterView, Diagnosis, diagnose
from arena_install.diagnosis.view import Object
from arena_install.errors import ArenaError
from arena_install.events import ignore
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting
from arena_install.probe.facts import Facts
from arena_install.stack import ledger, pods, ready
from arena_install.stack.api import Api

_SYSTEM = "kube-system"
_TIMEOUT = 8.0  # seconds for one answer of the API
_AT_ONCE = 8
_LOGS = 6  # pods whose last words are worth reading


def examine(setting: Setting) -> tuple[Facts, Diagnosis]:
    """Look at all hosts and ask the API; never raises for a host or an API that can't be reached."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_ask, setting)
        facts = probe.probe(setting.cluster, ignore)
        view = asked.result()
    return facts, diagnose(setting.cluster, facts, view, time.time())


def _ask(setting: Setting) -> ClusterView:
    if not setting.kubeconfig.exists():
        return ClusterView(asked=False)
    try:
        with reachable(setting) as kubeconfig:
            api = Api(kubeconfig, timeout=_TIMEOUT)
            try:
                return cluster_view(api)
            finally:
                api.close()
    except ArenaError as error:
        return ClusterView(error=": ".join(filter(None, (error.where, error.what, error.why))))


def cluster_view(api: Api) -> ClusterView:
    """What the API says of nodes, of the system and of our components. Raises ApiError and UnreachableError."""
    entries = ledger.read(api)
    component_of = {entry.namespace: name for name, entry in entries.items()}
    spaces = tuple(dict.fromkeys((_SYSTEM, *component_of)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        nodes = pool.submit(api.list_objects, "v1", "Node")
        found = [pool.submit(api.list_objects, "v1", "Pod", space) for space in spaces]
        workloads = [pool.submit(_workloads, api, kind, spaces) for kind in ("Deployment", "DaemonSet")]
        service = pool.submit(api.get, "v1", "Service", "kube-dns", _SYSTEM)
        addresses = pool.submit(ready.endpoints, api, _SYSTEM, "kube-dns")
        runtime_class = pool.submit(api.get, "node.k8s.io/v1", "RuntimeClass", "nvidia")
        view = ClusterView(
            nodes=tuple(nodes.result()),
            pods=tuple(pod for rows in found for pod in rows.result()),
            workloads=tuple(row for rows in workloads for row in rows.result()),
            dns_service=service.result() is not None,
            dns_endpoints=addresses.result(),
            runtime_class=runtime_class.result() is not None,
            components={name: entry.status for name, entry in entries.items()},
            component_of=component_of,
        )
        return _with_words(api, view, pool)


def _workloads(api: Api, kind: str, spaces: Sequence[str]) -> list[Object]:
    """Lists leave out each item's kind."""
    rows = api.list_objects("apps/v1", kind)
    return [row | {"kind": kind} for row in rows if row["metadata"]["namespace"] in spaces]


def _with_words(api: Api, view: ClusterView, pool: ThreadPoolExecutor) -> ClusterView:
    """The same, with the warnings of namespaces where something is wrong, and last words of pods that are not well."""
    states = list(view.unready.values())
    spaces = {state.namespace for state in states}
    spaces |= {row["metadata"]["namespace"] for row in view.workloads if pods.rollout(row)}
    speaking = [state for state in states if state.node][:_LOGS]
    warned = [pool.submit(_warnings, api, space) for space in spaces]
    logs = [pool.submit(pods.last_log, api, state) for state in speaking]
    events = sorted((event for rows in warned for event in rows.result()), key=pods.event_time)
    texts = {f"{state.namespace}/{state.name}": log.result() for state, log in zip(speaking, logs, strict=True)}
    return replace(view, warnings=tuple(events), logs=texts)


def _warnings(api: Api, space: str) -> list[Object]:
    return pods.warnings(api, space, "")
