"""Gathers what is known of one pod. Reads only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from arena_install.artifacts import Resolved
from arena_install.diagnosis.pod import PodDiagnosis, diagnose_pod, never_made
from arena_install.diagnosis.pod_view import PodView, requested
from arena_install.diagnosis.view import GPU, Object
from arena_install.errors import ArenaError, ConfigError
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting
from arena_install.stack import pods
from arena_install.stack.api import Api
from arena_install.suggest import did_you_mean

_AT_ONCE = 8
_TIMEOUT = 15.0  # seconds for one answer of the API


def examine_pod(setting: Setting, name: str, namespace: str) -> PodDiagnosis:
    """Say why a pod does not run; name may be that of what makes it (a Deployment, a job).

    Raises ConfigError where there is no such pod, UnreachableError where the API does not answer.
    """
    with reachable(setting, must=True) as kubeconfig:
        api = Api(kubeconfig, timeout=_TIMEOUT)
        try:
            return _examine(api, setting, name, namespace)
        finally:
            api.close()


def _examine(api: Api, setting: Setting, name: str, namespace: str) -> PodDiagnosis:
    pod = api.get("v1", "Pod", name, namespace) or _made_by(api, name, namespace)
    if pod is not None:
        return diagnose_pod(pod_view(api, pod, _images(setting)))
    events = sorted(api.list_objects("v1", "Event", namespace), key=pods.event_time)
    found = never_made(namespace, name, events)
    if found is None:
        raise _unknown(api, name, namespace)
    return found


def _made_by(api: Api, name: str, namespace: str) -> Object | None:
    """The pod of what has this name that is worst off."""
    rows = [row for row in api.list_objects("v1", "Pod", namespace) if row["metadata"]["name"].startswith(f"{name}-")]
    states = [(pods.pod_state(row), row) for row in rows]
    return min(states, key=lambda pair: (pair[0].ready, not pair[0].broken), default=(None, None))[1]


def _unknown(api: Api, name: str, namespace: str) -> ConfigError:
    everywhere = [row["metadata"] for row in api.list_metadata("v1", "Pod")]
    if others := [meta["namespace"] for meta in everywhere if meta["name"] == name]:
        why, fix = f"one of that name is in {', '.join(others)}", f"arena-install doctor pod {name} -N {others[0]}"
    else:
        here = [meta["name"] for meta in everywhere if meta["namespace"] == namespace]
        why, fix = did_you_mean(name, here), "kubectl get pods -A lists all"
    return ConfigError(f"there is no pod {name} in namespace {namespace}", why=why, fix=fix)


def pod_view(api: Api, pod: Object, images: frozenset[str] | None) -> PodView:
    """Everything that may say why the pod does not run."""
    meta, state = pod["metadata"], pods.pod_state(pod)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        events = pool.submit(api.list_objects, "v1", "Event", meta["namespace"])
        nodes = pool.submit(api.list_objects, "v1", "Node")
        asks = requested(pod, GPU) > 0
        all_pods = pool.submit(api.list_objects, "v1", "Pod") if asks else None
        names = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in volume
        ]
        claims = {name: pool.submit(api.get, "v1", "PersistentVolumeClaim", name, meta["namespace"]) for name in names}
        classes = pool.submit(api.list_metadata, "storage.k8s.io/v1", "StorageClass") if names else None
        logs = {name: pool.submit(pods.last_log, api, state, name) for name in _speaking(pod)}
        found = sorted(events.result(), key=pods.event_time)
        return PodView(
            pod=pod,
            events=tuple(event for event in found if _about(event, "Pod", meta["name"])),
            nodes=tuple(nodes.result()),
            gpu_pods=tuple(row for row in (all_pods.result() if all_pods else ()) if requested(row, GPU)),
            claims={name: claim.result() for name, claim in claims.items()},
            claim_events=tuple(e for e in found if e["involvedObject"].get("kind") == "PersistentVolumeClaim"),
            storage_classes=tuple(row["metadata"]["name"] for row in (classes.result() if classes else ())),
            logs={row: log.result() for row, log in logs.items()},
            images=images,
        )


def _speaking(pod: Object) -> list[str]:
    """Containers that have run or do, and are not as they should be."""
    statuses = [*(pod["status"].get("initContainerStatuses") or ()), *(pod["status"].get("containerStatuses") or ())]
    return [
        row["name"]
        for row in statuses
        if not row.get("ready") and (row.get("restartCount") or {"running", "terminated"} & set(row.get("state") or ()))
    ]


def _about(event: Object, kind: str, name: str) -> bool:
    about = event["involvedObject"]
    return (about.get("kind"), about.get("name")) == (kind, name)


def _images(setting: Setting) -> frozenset[str] | None:
    """What the cluster's registry holds, as recorded when it was filled."""
    if not setting.resolved_file.exists():
        return None
    try:
        return frozenset(Resolved.load(setting.resolved_file).images)
    except ArenaError:
        return None
