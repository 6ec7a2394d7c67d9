"""What a component has beside its chart: namespace, CRDs, objects of ours, node labels. Applied before the chart.

What is there already and was not applied by us belongs to somebody else: it is used if it serves, and left alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from arena_install.errors import StepError, TimedOutError
from arena_install.inventory.cluster import Cluster
from arena_install.stack.api import MANAGER, Api, Object
from arena_install.stack.component import Component, Namespace
from arena_install.stack.ledger import CRD as CRD
from arena_install.stack.ledger import OWNER_LABEL, Ref, settle_namespace
from arena_install.stack.ready import node_of
from arena_install.stack.values import Wish

_LEVELS = ("restricted", "baseline", "privileged")  # strictest first
_PREFIX = "pod-security.kubernetes.io"
_ESTABLISHED = 60.0  # seconds until CRDs must be served
_DIGEST = "arena-install.local/digest"  # of a CRD as we applied it


def namespace(api: Api, component: Component, *, known: bool) -> bool:
    """Make or correct the namespace with its Pod Security labels; True if it is ours. known: the ledger says so; of a
    namespace only the labels are ours, and these may have been taken off.

    Raises StepError where somebody else's namespace forbids the component's pods.
    """
    wanted = component.namespace
    found = settle_namespace(api, wanted.name)
    labels: Mapping[str, str] = (found or {}).get("metadata", {}).get("labels") or {}
    if found is not None and not (known or is_ours(found)):
        level = labels.get(f"{_PREFIX}/enforce", "privileged")
        if level in _LEVELS and _LEVELS.index(level) < _LEVELS.index(wanted.pod_security):
            raise StepError(
                f"namespace {wanted.name} forbids the pods of {component.name}",
                why=f"it isn't ours and enforces the Pod Security level {level}; {wanted.pod_security} is needed",
                fix=f"kubectl label namespace {wanted.name} --overwrite {_PREFIX}/enforce={wanted.pod_security}",
            )
        return False
    api.apply(_namespace(wanted, labels.get(OWNER_LABEL, component.name)), force=True)
    return True


def _namespace(wanted: Namespace, owner: str) -> dict[str, Any]:
    warn = wanted.pod_security_warn or wanted.pod_security
    labels = {
        OWNER_LABEL: owner,
        "app.kubernetes.io/managed-by": "arena-install",
        f"{_PREFIX}/enforce": wanted.pod_security,
        f"{_PREFIX}/warn": warn,
        f"{_PREFIX}/audit": warn,
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wanted.name, "labels": labels}}


def is_ours(obj: Object) -> bool:
    """By our label, or where somebody took that off, by the API server's note that we applied it."""
    metadata = obj["metadata"]
    notes = {(row.get("manager"), row.get("operation")) for row in metadata.get("managedFields") or ()}
    return OWNER_LABEL in (metadata.get("labels") or {}) or (MANAGER, "Apply") in notes


def crds(
    api: Api, component: Component, definitions: Sequence[Mapping[str, Any]], edited: Collection[str] = ()
) -> list[str]:
    """Apply CRDs and wait until all are served; returns the names of those that are ours.

    One that is as we left it is not sent again (some have a third of a megabyte); edited: names of those that are not.
    Somebody else's CRD of that name is kept when it serves our versions; otherwise StepError.
    """
    ours = [row["metadata"]["name"] for row in definitions if _crd(api, component, row, edited)]
    deadline = time.monotonic() + _ESTABLISHED
    for row in definitions:
        name, kind = row["metadata"]["name"], row["spec"]["names"]["kind"]
        wanted = [f"{row['spec']['group']}/{each['name']}" for each in row["spec"]["versions"] if each.get("served")]
        while missing := [version for version in wanted if not api.knows(version, kind)]:
            if name not in ours:
                raise StepError(
                    f"CRD {name} belongs to somebody else and does not serve {', '.join(missing)}",
                    why="it was there before, without our label; it is never overwritten",
                    fix=f"upgrade what owns it, or leave {component.name} out: --skip {component.name}",
                )
            if time.monotonic() >= deadline:
                late = f"{', '.join(missing)} not there after {_ESTABLISHED:.0f} s"
                raise TimedOutError(f"CRD {name} is not served", why=late)
            time.sleep(0.2)
    return ours


def _crd(api: Api, component: Component, definition: Mapping[str, Any], edited: Collection[str]) -> bool:
    """Apply one CRD; True if it is ours."""
    metadata = {key: value for key, value in definition["metadata"].items() if key != "creationTimestamp"}
    plain = {key: value for key, value in definition.items() if key != "status"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    found = api.get(*CRD, metadata["name"], metadata_only=True)
    if found is not None:
        if not is_ours(found):
            return False
        noted = (found["metadata"].get("annotations") or {}).get(_DIGEST)
        if noted == digest and metadata["name"] not in edited:
            return True
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER_LABEL: component.name}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _DIGEST: digest}
    api.apply({**plain, "metadata": metadata}, force=True)
    return True


def own_objects(api: Api, wish: Wish) -> list[Ref]:
    """Apply the objects of objects.yaml.j2; returns those that are ours."""
    refs = []
    for obj in wish.objects:
        metadata = obj["metadata"]
        ref = Ref(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace", ""))
        found = api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
        if found is not None and not is_ours(found):
            continue
        labels = {**(metadata.get("labels") or {}), OWNER_LABEL: wish.component.name}
        api.apply({**obj, "metadata": {**metadata, "labels": labels}}, force=True)
        refs.append(ref)
    return refs


def node_labels(api: Api, wish: Wish, cluster: Cluster) -> dict[str, dict[str, str]]:
    """Label the nodes of inventory groups; returns node -> labels as set. A host without a node is passed over."""
    done: dict[str, dict[str, str]] = {}
    if not wish.node_labels:
        return done
    nodes = api.list_objects("v1", "Node")
    for name, wanted in wish.node_labels.items():
        node = node_of(cluster.host(name), nodes)
        if node is None:
            continue
        metadata = node["metadata"]
        if any((metadata.get("labels") or {}).get(key) != value for key, value in wanted.items()):
            api.merge("v1", "Node", metadata["name"], {"metadata": {"labels": dict(wanted)}})
        done[metadata["name"]] = dict(wanted)
    return done
