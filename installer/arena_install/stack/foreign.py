"""What an existing cluster has of what a component would bring: two of a kind would fight over the same objects.

A component is left out where somebody else's pods run its programs, where one of its CRDs is somebody else's (its
controller would take their objects for its own), or where the cluster has what it is for by other means. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

from arena_install.stack import ledger
from arena_install.stack.api import Api, Object
from arena_install.stack.ledger import CRD, Entry
from arena_install.stack.prepare import is_ours
from arena_install.stack.values import Wish, images_of

_WORKLOADS = (("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("apps/v1", "StatefulSet"))
#: Programs that many charts carry beside their own.
_COMMON = frozenset({"busybox", "kube-rbac-proxy", "pause"})
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def survey(api: Api, wanted: Mapping[str, Wish]) -> dict[str, str]:
    """Component -> what is there in its place, for those that are to be left out.

    What the ledger says is ours is never foreign. Raises UnreachableError, ApiError.
    """
    mine = ledger.read(api)
    fresh = {name: wish for name, wish in wanted.items() if name not in mine}
    if not fresh:
        return {}
    programs, crds = _programs(api, mine.values()), _crds(api)
    found: dict[str, str] = {}
    for name, wish in fresh.items():
        reasons = (
            next((programs[one] for one in _own_programs(wish) if one in programs), ""),
            _claimed(wish, crds),
            _BY_OTHER_MEANS.get(wish.component.unless, lambda _: "")(api),
        )
        if reason := next(filter(None, reasons), ""):
            found[name] = reason
    return found


def _own_programs(wish: Wish) -> list[str]:
    """Last parts of the image names that this component runs, and no other: `vc-scheduler`."""
    names = map(_program, images_of(wish.component, wish.values))
    return [name for name in names if name not in _COMMON]


def _program(image: str) -> str:
    """`vc-scheduler` of any registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _programs(api: Api, mine: Iterable[Entry]) -> dict[str, str]:
    """Program -> who runs it, of all workloads that are none of ours."""
    ours = {(ref.kind, ref.namespace, ref.name) for entry in mine for ref in entry.refs}
    found: dict[str, str] = {}
    for api_version, kind in _WORKLOADS:
        for row in api.list_objects(api_version, kind):
            meta = row["metadata"]
            if (kind, meta["namespace"], meta["name"]) not in ours:
                for image in _images(row):
                    found.setdefault(_program(image), f"{kind} {meta['namespace']}/{meta['name']} runs {image}")
    return found


def _images(workload: Object) -> list[str]:
    pod = workload["spec"]["template"]["spec"]
    return [str(row["image"]) for row in (*(pod.get("initContainers") or ()), *pod["containers"])]


def _crds(api: Api) -> list[str]:
    """Names of those that are none of ours."""
    return sorted(str(row["metadata"]["name"]) for row in api.list_metadata(*CRD) if not is_ours(row))


def _claimed(wish: Wish, crds: Iterable[str]) -> str:
    patterns = wish.component.crds.claims if wish.component.crds else ()
    taken = [name for name in crds if any(fnmatch(name, pattern) for pattern in patterns)]
    return f"CRD {', '.join(taken[:2])}{', ...' if taken[2:] else ''} is somebody else's" if taken else ""


def _network(api: Api) -> str:
    """Nodes are Ready only with one."""
    ready = [
        str(node["metadata"]["name"])
        for node in api.list_objects("v1", "Node")
        if any(row["type"] == "Ready" and row["status"] == "True" for row in node["status"].get("conditions") or ())
    ]
    return f"the pods have a network: {len(ready)} nodes are Ready" if ready else ""


def _storage(api: Api) -> str:
    for row in api.list_metadata("storage.k8s.io/v1", "StorageClass"):
        if (row["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
            return f"StorageClass {row['metadata']['name']} is the default"
    return ""


#: Component's `unless` -> looks for it; "" where it is not there.
_BY_OTHER_MEANS = {"network": _network, "storage": _storage}

