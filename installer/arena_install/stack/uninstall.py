"""Take components out again, those that need others first, and leave nothing of ours and all of everybody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arena_install.errors import ArenaError, ConfigError, StepError
from arena_install.events import Emit, Step, step
from arena_install.stack import ledger, prepare
from arena_install.stack.api import Api
from arena_install.stack.component import Component
from arena_install.stack.graph import Catalogue, catalogue, dependents, order
from arena_install.stack.helm import Helm, Revision, revisions
from arena_install.stack.install import Result, StackError
from arena_install.stack.lease import held
from arena_install.stack.ledger import OWNER_LABEL, Entry, Ref
from arena_install.stack.values import Resolved
from arena_install.suggest import did_you_mean

Releases = Mapping[tuple[str, str], Sequence[Revision]]  # (namespace, name) -> revisions

_HOOKS = 60  # seconds for hooks and for a release's objects to go
_HOOK = "helm.sh/hook"  # annotation
_LEAVE = 40.0  # seconds that the pods of a removed release are given to end

#: What makes a namespace somebody's: it stays while any of these are in it.
_INHABITANTS = (
    ("v1", "Pod"), ("v1", "PersistentVolumeClaim"), ("v1", "Service"), ("v1", "Secret"), ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
)

_RBAC = "rbac.authorization.k8s.io/v1"
#: What a component has in the namespaces of users, and for them. Not their volumes: those are theirs.
_AT_USERS = (
    ("v1", "Pod"), ("v1", "Secret"), ("v1", "ServiceAccount"), (_RBAC, "RoleBinding"), (_RBAC, "ClusterRoleBinding"),
)


def uninstall(
    kubeconfig: Path,
    resolved: Resolved,
    names: Sequence[str],
    emit: Emit,
    *,
    rows: Catalogue | None = None,
    on_hosts: Callable[[Sequence[str]], None] | None = None,
) -> dict[str, Result]:
    """Remove what the ledger lists of these components; returns name -> Result in the order of removal.

    A CRD stays while somebody's objects of that kind exist, a namespace while somebody's things are in it; a warning
    event says so. on_hosts: called once, with the names of those that are out of the cluster, before the ledger forgets
    them; it removes what they left on hosts.

    Raises ConfigError when an installed component that is not named needs one that is, StepError for one that somebody
    else installed, StackError when a removal failed.
    """
    rows = catalogue() if rows is None else rows
    api = Api(kubeconfig)
    try:
        return asyncio.run(_all(api, resolved.program("helm"), names, rows, emit, on_hosts))
    finally:
        api.close()


async def _all(
    api: Api,
    helm: Path,
    names: Sequence[str],
    rows: Catalogue,
    emit: Emit,
    on_hosts: Callable[[Sequence[str]], None] | None,
) -> dict[str, Result]:
    entries, releases = await asyncio.to_thread(check, api, names, rows)
    results: dict[str, Result] = {}
    if not any(name in entries for name in names):
        return {name: Result(name, "ok", "is not installed") for name in names}
    backwards = [name for name in reversed(order(names, rows)) if name in names]
    async with held(api, emit), Helm.at(helm, api.kubeconfig) as client:
        for name in backwards:
            results[name] = await _one(api, client, rows[name], entries.get(name), releases, emit)
        out = [name for name, result in results.items() if result.changed]
        if on_hosts and out:
            await asyncio.to_thread(on_hosts, out)
        for name in out:
            await asyncio.to_thread(ledger.write, api, name, None)
    if any(result.error for result in results.values()):
        raise StackError(results, again="arena-install down")
    homes = [entries[name].namespaces for name in out]
    gone = [name for names_ in homes for name in names_ if await asyncio.to_thread(_going, api, name)]
    if not await asyncio.to_thread(ledger.read, api):
        await asyncio.to_thread(ledger.remove, api)
        gone.append(ledger.NAMESPACE)
    # All at once: the API server takes some five seconds for each.
    await asyncio.gather(*(asyncio.to_thread(api.wait_gone, "v1", "Namespace", name) for name in gone))
    return results


def check(api: Api, names: Sequence[str], rows: Catalogue) -> tuple[dict[str, Entry], Releases]:
    """What the ledger and Helm know. Raises ConfigError and StepError as uninstall does, before anything is changed."""
    for name in names:
        if name not in rows:
            raise ConfigError(f"there is no component {name!r}", fix=did_you_mean(name, rows))
    entries, releases = ledger.read(api), revisions(api)
    installed = [name for name in entries if name in rows]
    for name in names:
        home = (rows[name].namespace.name, rows[name].release)
        if name not in entries and home in releases:
            raise StepError(
                f"{name} is in this cluster, but arena-install did not install it",
                where=f"namespace {home[0]}",
                why="only what the ledger records is known to be ours",
                fix=f"whoever installed it can take it out: helm uninstall {home[1]} --namespace {home[0]}",
            )
        left = [other for other in dependents(name, installed, rows) if other not in names]
        if left and name in entries:
            raise ConfigError(
                f"{', '.join(left)} {'needs' if len(left) == 1 else 'need'} {name}",
                where=f"component {name}",
                fix=f"take {', '.join(left)} out too",
            )
    return entries, releases


async def _one(
    api: Api,
    helm: Helm,
    component: Component,
    entry: Entry | None,
    releases: Releases,
    emit: Emit,
) -> Result:
    """Everything but the ledger's entry, which says until the end that this component is leaving."""
    started = time.monotonic()
    name = component.name
    if entry is None:
        return Result(name, "ok", "is not installed")
    try:
        with step(emit, f"component/{name}", f"removing {component.title}") as handle:
            await asyncio.to_thread(ledger.write, api, name, replace(entry, status="leaving"))
            there = (entry.namespace, entry.release) in releases
            if there and not await helm.uninstall(entry.release, entry.namespace, _HOOKS):
                handle.log("its clean-up hook did not end; went on without it")
            kept = await asyncio.to_thread(_rest, api, component, entry, handle)
            text = "removed" + (f"; kept {', '.join(kept)}" if kept else "")
            handle.end("changed", text)
    except ArenaError as error:
        return Result(name, "failed", error.what, time.monotonic() - started, error)
    return Result(name, "changed", text, time.monotonic() - started)


def _rest(api: Api, component: Component, entry: Entry, handle: Step) -> list[str]:
    """Everything beside the release; returns what had to stay and why."""
    kept: list[str] = []
    for ref in entry.objects:  # only where the release was lost: Helm has deleted them otherwise
        found = api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
        if found and _release_of(found) == (entry.namespace, entry.release):
            api.delete(ref.api_version, ref.kind, ref.name, ref.namespace)
    for ref in entry.hooks:  # Helm leaves them where they failed, or where the chart does not say otherwise
        found = api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
        if found and _HOOK in (found["metadata"].get("annotations") or {}):
            api.delete(ref.api_version, ref.kind, ref.name, ref.namespace)
    for ref in entry.ours:
        if _is_ours(api, ref):
            api.delete(ref.api_version, ref.kind, ref.name, ref.namespace)
    if component.at_users:
        _from_users(api, component.name)
    for node, labels in entry.node_labels.items():
        if api.get("v1", "Node", node, metadata_only=True):
            api.merge("v1", "Node", node, {"metadata": {"labels": dict.fromkeys(labels)}})
    for crd in entry.crds:
        if reason := _crd(api, component, crd):
            kept.append(reason)
    for namespace in entry.namespaces:
        if reason := _namespace(api, namespace):
            kept.append(reason)
    for reason in kept:
        handle.log(f"kept {reason}")
    return kept


def _from_users(api: Api, name: str) -> None:
    """Once who would make pods anew is gone."""
    pods: list[tuple[str, str]] = []
    for api_version, kind in _AT_USERS:
        for row in api.list_metadata(api_version, kind, labelSelector=f"{OWNER_LABEL}={name}"):
            where = row["metadata"]["name"], row["metadata"].get("namespace", "")
            api.delete(api_version, kind, *where)
            pods += [where] if kind == "Pod" else []
    for where in pods:
        api.wait_gone("v1", "Pod", *where)


def _crd(api: Api, component: Component, name: str) -> str:
    """Delete a CRD of ours unless somebody has objects of it; returns what stays and why, or ""."""
    found = api.get(*prepare.CRD, name)
    if found is None or OWNER_LABEL not in (found["metadata"].get("labels") or {}):
        return ""
    spec = found["spec"]
    # As they are stored: the webhook that would convert them to another version went with the release.
    version = next(row["name"] for row in sorted(spec["versions"], key=lambda row: not row["storage"]) if row["served"])
    kind, rule, home = spec["names"]["kind"], component.crds, component.namespace.name
    own, makes = (name in rule.own, rule.makes.get(name, ())) if rule else (False, ())

    def ours(metadata: Mapping[str, Any]) -> bool:
        space = metadata.get("namespace")
        return bool((own and space == home) or (not space and metadata["name"] in makes))

    objects = api.list_metadata(f"{spec['group']}/{version}", kind)
    foreign = [row["metadata"] for row in objects if not ours(row["metadata"])]
    if foreign:
        first = "/".join(part for part in (foreign[0].get("namespace", ""), foreign[0]["name"]) if part)
        return f"CRD {name}: {len(foreign)} {kind} exist ({first})"
    api.delete(*prepare.CRD, name)
    api.wait_gone(*prepare.CRD, name)
    return ""


def _namespace(api: Api, name: str) -> str:
    """Delete a namespace of ours unless somebody lives in it; returns what stays and why, or ""."""
    if not _is_ours(api, Ref("v1", "Namespace", name)):
        return ""

    def inhabitant() -> str:
        for api_version, kind in _INHABITANTS:
            for row in api.list_metadata(api_version, kind, name):
                metadata = row["metadata"]
                system = metadata["name"] == "kube-root-ca.crt"
                if not (system or OWNER_LABEL in (metadata.get("labels") or {})):
                    return f"{kind} {metadata['name']}"
        return ""

    deadline = time.monotonic() + _LEAVE
    while found := inhabitant():  # pods of what was just removed take a moment to end
        if time.monotonic() >= deadline or not found.startswith("Pod "):
            return f"namespace {name}: {found} is in it"
        time.sleep(0.3)
    api.delete("v1", "Namespace", name)
    return ""


def _going(api: Api, name: str) -> bool:
    found = api.get("v1", "Namespace", name, metadata_only=True)
    return found is not None and "deletionTimestamp" in found["metadata"]


def _is_ours(api: Api, ref: Ref) -> bool:
    found = api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
    return found is not None and OWNER_LABEL in (found["metadata"].get("labels") or {})


def _release_of(obj: dict[str, Any]) -> tuple[str, str]:
    notes = obj["metadata"].get("annotations") or {}
    return notes.get("meta.helm.sh/release-namespace", ""), notes.get("meta.helm.sh/release-name", "")
