"""Making a user, or what a user lacks. First everything that can be wrong is looked for, and nothing is made; then all
of it is made in an order in which a killed run is finished by the next one: the namespace first, which says whose it
is, the kubeconfig last.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arena_install import stack
from arena_install.errors import ConfigError, StepError
from arena_install.stack.api import Api, ApiError
from arena_install.users import certificate, kubeconfig, names, notebook, objects, quantity, queue
from arena_install.users.found import User, users
from arena_install.users.kubeconfig import Door
from arena_install.users.names import ROLE, SHARED, SHARED_LABEL, UNTIL, USER_LABEL, Shared
from arena_install.users.objects import QUOTA, RBAC, Identity

Object = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What was asked for; None and "" where nothing was, which for a user who is there means: as it is. labels and
    annotations: further ones for all that is made."""

    name: str
    namespace: str = ""
    gpus: int | None = None
    cpu: str = ""
    memory: str = ""
    queue: str = ""
    days: int = 365
    revoke: bool = False
    shared: Shared = SHARED
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Added:
    """What is there now. done: (object, "made", "mended", "there" or
    "removed"), in order. notes: what is worth knowing."""

    user: User
    identity: Identity
    hard: dict[str, str]
    queue: str
    file: Path
    until: datetime
    done: list[tuple[str, str]]
    notes: list[str]
    notebook: bool  # whether there is a JupyterHub to log in to

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.identity.name,
            "namespace": self.identity.namespace,
            "user": self.identity.user,
            "quota": {what: self.hard.get(key) for what, key in QUOTA.items()},
            "queue": {"cluster_queue": self.queue, "local_queue": names.LOCAL_QUEUE} if self.queue else None,
            "kubeconfig": str(self.file),
            "certificate_until": certificate.written(self.until),
            "notebook": {"secret": notebook.LOGIN} if self.notebook else None,
            "done": [{"object": what, "outcome": outcome} for what, outcome in self.done],
            "notes": self.notes,
        }


def add(api: Api, wish: Wish, to: Door, file: Path) -> Added:
    """file: where the kubeconfig goes. Raises ConfigError before anything is made for what can't be meant, StepError
    where the API refuses something, TimedOutError where nobody signs the certificate."""
    return _Maker(api, _look(api, wish, file)).all(to, file)


@dataclass(frozen=True)
class _Plan:
    wish: Wish
    of: Identity
    there: User | None
    hard: Mapping[str, str]
    kueue: str
    queue: str
    notes: tuple[str, ...]


def _look(api: Api, wish: Wish, file: Path) -> _Plan:
    """Reads only."""
    names.check_name(wish.name)
    names.check_days(wish.days)
    if wish.gpus is not None:
        names.check_gpus(wish.gpus)
    for flag, text in (("--cpu", wish.cpu), ("--memory", wish.memory)):
        if text:
            names.check_quantity(flag, text)
    kubeconfig.check_free(file, wish.name)
    there = next((user for user in users(api) if user.name == wish.name), None)
    namespace = _namespace(api, wish, there)
    of = Identity(wish.name, namespace, "", "", wish.labels, wish.annotations)
    _check_cluster_scope(api, wish)
    kueue = queue.version(api)
    labels = {**objects.namespace(of)["metadata"]["labels"], "kubernetes.io/metadata.name": namespace}
    chosen = queue.choose(api, kueue, namespace, labels, wish.queue, wish.shared)
    has = quantity.gpus(api.list_objects("v1", "Node"))
    hard = _hard(api, namespace, wish, has)
    notes = []
    if quantity.parse(hard[QUOTA["gpus"]]) > has:  # 1000 comes back as 1k
        notes.append(f"the quota is {hard[QUOTA['gpus']]} GPUs, the cluster has {has} now")
    id = there.id if there and there.namespace and there.id and not wish.revoke else secrets.token_hex(3)
    of = replace(of, id=id, user=names.identity(wish.name, id))
    return _Plan(wish, of, there, hard, kueue, chosen, tuple(notes))


def _namespace(api: Api, wish: Wish, there: User | None) -> str:
    """Raises ConfigError for a clash."""
    if there and there.going:
        raise StepError(
            f"user {wish.name} is being removed",
            where=f"namespace {there.namespace}",
            fix=f"wait until it is gone: arena-install user remove {wish.name}",
        )
    if there and there.namespace:
        if wish.namespace not in ("", there.namespace):
            raise ConfigError(
                f"user {wish.name} has the namespace {there.namespace} already",
                why="a user has one namespace",
                fix=f"leave --namespace out, or add another user, such as {wish.name}-2",
            )
        return there.namespace
    namespace = wish.namespace or wish.name
    names.check_namespace(namespace, {row.namespace.name for row in stack.catalogue().values()})
    found = api.get("v1", "Namespace", namespace, metadata_only=True)
    if found is not None:
        other = (found["metadata"].get("labels") or {}).get(USER_LABEL, "")
        raise ConfigError(
            f"namespace {namespace} is there, and it is "
            + (f"user {other}'s" if other else "none that arena-install made for a user"),
            fix=f"another one: arena-install user add {wish.name} --namespace NAME",
        )
    return namespace


def _check_cluster_scope(api: Api, wish: Wish) -> None:
    """Raises ConfigError where a name of ours is somebody else's."""
    for kind, name, label in (
        ("ClusterRoleBinding", names.cluster_binding(wish.name), USER_LABEL),
        ("ClusterRole", wish.shared.cluster_role, SHARED_LABEL),
    ):
        found = api.get(f"{RBAC}/v1", kind, name, metadata_only=True)
        if found is not None and label not in (found["metadata"].get("labels") or {}):
            raise ConfigError(
                f"there is a {kind} {name} that arena-install did not make",
                fix=f"see what it is for: kubectl get {kind.lower()} {name} -o yaml",
            )


def _hard(api: Api, namespace: str, wish: Wish, gpus: int) -> dict[str, str]:
    """The quota: what was asked for, else what is there, else all GPUs that the cluster has."""
    found = api.get("v1", "ResourceQuota", ROLE, namespace) or {}
    before = (found.get("spec") or {}).get("hard") or {}
    asked = {"gpus": "" if wish.gpus is None else str(wish.gpus), "cpu": wish.cpu, "memory": wish.memory}
    hard = {key: asked[what] or str(before.get(key, "")) for what, key in QUOTA.items()}
    hard[QUOTA["gpus"]] = hard[QUOTA["gpus"]] or str(gpus)
    return {key: amount for key, amount in hard.items() if amount}


def _offered(api: Api) -> list[tuple[str, str]]:
    """(namespace, Role) of what components give to every user. Only in their own namespaces: users make Roles too."""
    platform = {row.namespace.name for row in stack.catalogue().values()}
    rows = api.list_metadata(f"{RBAC}/v1", "Role", labelSelector=f"{names.FOR_USERS_LABEL}=true")
    found = [(str(row["metadata"]["namespace"]), str(row["metadata"]["name"])) for row in rows]
    return sorted((space, role) for space, role in found if space in platform)


class _Maker:
    def __init__(self, api: Api, plan: _Plan) -> None:
        self._api, self._plan = api, plan
        self._done: list[tuple[str, str]] = []
        self._notes = list(plan.notes)

    def all(self, to: Door, file: Path) -> Added:
        plan, of = self._plan, self._plan.of
        certificate.clear(self._api, of.name)
        self._space()
        shared = plan.wish.shared
        self._apply(objects.cluster_role(of, shared))
        self._apply(objects.cluster_binding(of, shared))
        self._apply(objects.role(of))
        self._apply(objects.binding(of))
        if plan.wish.revoke and self._api.delete("v1", "ServiceAccount", names.VIEWER, of.namespace):
            self._done.append((f"ServiceAccount {names.VIEWER}", "removed"))  # its tokens end with it
        for obj in objects.viewer(of):
            self._apply(obj)
        for space, role in _offered(self._api):
            self._apply(objects.platform_binding(of, space, role))
        self._strangers()
        notebooks = notebook.installed(self._api)
        if notebooks:
            self._notebook()
        self._apply(objects.quota(of, plan.hard))
        if (limits := objects.limits(of, plan.hard)) is not None:
            self._apply(limits)
        for obj in queue.wanted(self._api, plan.kueue, of, shared, plan.queue):
            self._apply(obj, force=False)
        if plan.queue:
            self._apply(objects.local_queue(of, plan.kueue, plan.queue))
        until = self._kubeconfig(to, file)
        note = {"metadata": {"annotations": {UNTIL: certificate.written(until)}}}
        self._api.merge("v1", "Namespace", of.namespace, note)
        user = User(of.name, of.namespace, of.id, certificate.written(until))
        return Added(user, of, dict(plan.hard), plan.queue, file, until, self._done, self._notes, notebooks)

    def _space(self) -> None:
        """Created, not applied: where somebody made a namespace of this name since we looked, it is theirs."""
        body = objects.namespace(self._plan.of)
        if self._plan.there is None or not self._plan.there.namespace:
            try:
                self._api.create(body)
            except ApiError as error:
                if error.code == 409:
                    raise ConfigError(
                        f"namespace {self._plan.of.namespace} was made by somebody else just now",
                        fix="the same command again says whose it is",
                    ) from error
                raise
            self._done.append((f"Namespace {self._plan.of.namespace}", "made"))
            self._api.apply(body, force=True)
            return
        self._apply(body)

    def _apply(self, obj: Object, *, force: bool = True) -> None:
        """force: ours by right; else what somebody else has changed since stays as it is, and is told."""
        meta = obj["metadata"]
        where = obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace", "")
        told = f"{obj['kind']} {meta['name']}"
        before = self._api.get(*where, metadata_only=True)
        try:
            after = self._api.apply(obj, force=force)
        except ApiError as error:
            if error.code == 409 and not force:
                self._done.append((told, "there"))
                self._notes.append(f"{told} stays as it was changed: {queue.changed_by_others(error)}")
                return
            if error.code != 422 or "roleRef" not in obj or before is None:
                raise
            self._api.delete(*where)  # a binding can't be pointed at another role
            after = self._api.apply(obj, force=True)
        same = before and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
        self._done.append((told, "made" if before is None else "there" if same else "mended"))

    def _notebook(self) -> None:
        plan, of = self._plan, self._plan.of
        if plan.wish.revoke:
            self._done += [(what, "removed") for what in notebook.revoke(self._api, of.namespace)]
        for obj in notebook.objects(of, plan.wish.shared):
            self._apply(obj)
        told = f"Secret {notebook.LOGIN}"
        if self._api.get("v1", "Secret", notebook.LOGIN, of.namespace, metadata_only=True):
            self._done.append((told, "there"))
        else:
            self._api.create(notebook.login(of))
            self._done.append((told, "made"))

    def _strangers(self) -> None:
        """Bindings by which people have rights in this namespace without us: whoever had the old kubeconfig could have
        made one for it. With --revoke they go, else they are told."""
        space = self._plan.of.namespace
        for row in self._api.list_objects(f"{RBAC}/v1", "RoleBinding", space):
            name, subjects = row["metadata"]["name"], row.get("subjects") or ()
            people = [f"{one['kind']} {one['name']}" for one in subjects if one["kind"] != "ServiceAccount"]
            if name == ROLE or not people:
                continue
            if self._plan.wish.revoke:
                self._api.delete(f"{RBAC}/v1", "RoleBinding", name, space)
                self._done.append((f"RoleBinding {name} for {', '.join(people)}", "removed"))
            else:
                self._notes.append(f"RoleBinding {name}, not ours, gives rights in {space} to {', '.join(people)}")

    def _kubeconfig(self, to: Door, file: Path) -> datetime:
        plan, of = self._plan, self._plan.of
        until = kubeconfig.usable_until(file, to, of.user, of.namespace)
        if until is not None:
            self._done.append((f"kubeconfig {file}", "there"))
            return until
        before = file.exists()
        labels = of.meta("")["labels"]
        mine = certificate.issue(self._api, of.name, of.user, plan.wish.days, labels)
        kubeconfig.write(file, to, of.name, of.namespace, mine)
        self._done.append((f"kubeconfig {file}", "mended" if before else "made"))
        days = (mine.until - datetime.now(UTC)).days
        if days < plan.wish.days - 1:
            self._notes.append(f"the cluster signs for {days + 1} days at most, {plan.wish.days} were asked for")
        return mine.until
