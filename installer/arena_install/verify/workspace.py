"""The namespaces that one run of checks makes for its pods, and takes away again however it ends.

Three, by what Pod Security lets in: "restricted" for most, "baseline" for training jobs (the training operator's init
container is not ours to shape), "privileged" for the reader that asks each node's kubelet. Each carries an
expiry: what a killed run left behind, the next one removes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from importlib import resources
from typing import Literal

from arena_install import users
from arena_install.errors import ArenaError, UnreachableError
from arena_install.verify.kube import ApiError, Kube, Object, namespaced, segment

Level = Literal["restricted", "baseline", "privileged"]

RUN_LABEL = "arena-install.local/verify"
CHECK_LABEL = "arena-install.local/check"
EXPIRES = "arena-install.local/expires"
_LIFETIME = 2 * 3600  # seconds after which a namespace belongs to a run that is dead
_SUFFIX = {"restricted": "", "baseline": "-train", "privileged": "-node"}


class Workspaces:
    """Thread-safe. `get` makes a namespace on first use; `close` removes all that were made."""

    def __init__(self, kube: Kube, id: str) -> None:
        self._kube, self._id = kube, id
        self._lock = threading.Lock()
        self._made: dict[Level, str] = {}
        self._payloads: set[str] = set()
        self._users: dict[str, Kube] = {}
        self._undo: list[Callable[[], object]] = []
        self._closed = False

    def get(self, level: Level) -> str:
        """The run's namespace of this Pod Security level. Raises ApiError, and StepError once the run is ending."""
        with self._lock:
            if self._closed:
                raise UnreachableError("this run has ended", why="its namespaces are being removed")
            if level not in self._made:
                name = f"arena-verify-{self._id}{_SUFFIX[level]}"
                self._made[level] = name  # before the request: whatever becomes of it, close() removes it
                self._kube.create("/api/v1/namespaces", self._namespace(name, level))
                self._await_account(name)
            return self._made[level]

    @property
    def made(self) -> tuple[str, ...]:
        return tuple(self._made.values())

    def payload(self, namespace: str) -> str:
        """Name of the ConfigMap that holds the scripts of arena_install.verify.payloads in this namespace."""
        with self._lock:
            if namespace not in self._payloads:
                body = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "payload", "labels": {RUN_LABEL: self._id}},
                    "data": scripts(),
                }
                self._kube.create(namespaced("configmaps", namespace), body)
                self._payloads.add(namespace)
        return "payload"

    def user(self, namespace: str) -> Kube:
        """The API as an ordinary user of this namespace: a ServiceAccount with the rights that `arena-install user add`
        gives in a namespace, and a token of its own."""
        with self._lock:
            if namespace not in self._users:
                self._users[namespace] = self._make_user(namespace)
            return self._users[namespace]

    def expiry(self) -> dict[str, str]:
        """The annotation by which the next run knows that what a killed one left can go."""
        return {EXPIRES: str(int(time.time()) + _LIFETIME)}

    def at_end(self, undo: Callable[[], object]) -> None:
        """Called by `close`, for what is made in no namespace of ours. Must do nothing where nothing is left to do."""
        with self._lock:
            if self._closed:
                raise UnreachableError("this run has ended", why="what it made is being removed")
            self._undo.append(undo)

    def close(self, seconds: float = 60) -> list[str]:
        """Remove every namespace made, wait until they are gone. Returns what could not be done, one line each."""
        with self._lock:
            self._closed = True
            names = list(self._made.values())
        problems = []
        for undo in self._undo:
            try:
                undo()
            except ArenaError as error:
                problems.append(f"{error.what}; {error.fix}" if error.fix else error.what)
        for name in names:
            try:
                self._end_pods(name)
                self._kube.delete(f"/api/v1/namespaces/{segment(name)}")
            except ArenaError as error:
                problems.append(
                    f"namespace {name} could not be removed: {error.why or error.what}; kubectl delete namespace {name}"
                )
        until = time.monotonic() + seconds
        for name in names if not problems else ():
            while self._exists(name):
                if time.monotonic() > until:
                    problems.append(
                        f"namespace {name} is still going after {seconds:.0f} s; kubectl get namespace {name} -o yaml"
                    )
                    break
                time.sleep(0.5)
        return problems

    def sweep(self) -> list[str]:
        """Remove namespaces that earlier runs left behind. Returns their names."""
        gone = []
        for namespace in self._kube.items("/api/v1/namespaces", labelSelector=RUN_LABEL):
            meta = namespace["metadata"]
            if expired(namespace) and not meta.get("deletionTimestamp"):
                self._kube.delete(f"/api/v1/namespaces/{segment(meta['name'])}")
                gone.append(meta["name"])
        return gone

    def _namespace(self, name: str, level: Level) -> Object:
        labels = {RUN_LABEL: self._id, "app.kubernetes.io/managed-by": "arena-install"}
        labels |= {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "audit", "warn")}
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": self.expiry(),
            },
        }

    def _await_account(self, name: str) -> None:
        until = time.monotonic() + 15
        while self._kube.find(namespaced("serviceaccounts", name, "default")) is None and time.monotonic() < until:
            time.sleep(0.1)

    def _make_user(self, namespace: str) -> Kube:
        account = "verify-user"
        meta: Object = {"name": account, "labels": {RUN_LABEL: self._id}}
        rbac = "rbac.authorization.k8s.io"
        self._kube.create(
            namespaced("serviceaccounts", namespace),
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False},
        )
        self._kube.create(
            namespaced("roles", namespace, group=f"{rbac}/v1"),
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": users.rules()},
        )
        self._kube.create(
            namespaced("rolebindings", namespace, group=f"{rbac}/v1"),
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": account},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            },
        )
        token = self._kube.create(
            namespaced("serviceaccounts", namespace, account) + "/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
        )
        return self._kube.as_user(token["status"]["token"])

    def _end_pods(self, namespace: str) -> None:
        """At once, without grace: nothing in these pods is worth waiting for, and readers sleep for ever."""
        with contextlib.suppress(ApiError):
            for pod in self._kube.items(namespaced("pods", namespace)):
                self._kube.delete(namespaced("pods", namespace, pod["metadata"]["name"]), grace=1)

    def _exists(self, name: str) -> bool:
        try:
            return self._kube.find(f"/api/v1/namespaces/{segment(name)}") is not None
        except ArenaError:
            return False


def expired(obj: Object) -> bool:
    """Whether the run that made it is dead."""
    expires = (obj["metadata"].get("annotations") or {}).get(EXPIRES, "")
    return str(expires).isdigit() and int(expires) < time.time()


def scripts() -> dict[str, str]:
    """The payloads by file name, as they are mounted at /payload."""
    folder = resources.files("arena_install.verify.payloads")
    return {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith((".py", ".sh")) and entry.name != "__init__.py"
    }
