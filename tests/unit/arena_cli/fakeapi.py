"""A small API server on loopback: objects in a dictionary, with just enough of Kubernetes' manners for tests."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

#: API -> kind -> plural of what is installed, if a test does not say otherwise.
INSTALLED = {
    "v1": {
        "ConfigMap": "configmaps",
        "Pod": "pods",
        "Service": "services",
        "Secret": "secrets",
        "Event": "events",
        "Node": "nodes",
        "Namespace": "namespaces",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "ResourceQuota": "resourcequotas",
        "ServiceAccount": "serviceaccounts",
    },
    "apps/v1": {"Deployment": "deployments"},
    "batch/v1": {"CronJob": "cronjobs", "Job": "jobs"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
    "scheduling.k8s.io/v1": {"PriorityClass": "priorityclasses"},
    "kubeflow.org/v1": {"TFJob": "tfjobs", "PyTorchJob": "pytorchjobs"},
    "kubeflow.org/v2beta1": {"MPIJob": "mpijobs"},
    "batch.volcano.sh/v1alpha1": {"Job": "jobs"},
    "scheduling.volcano.sh/v1beta1": {"PodGroup": "podgroups"},
    "workload.codeflare.dev/v1beta2": {"AppWrapper": "appwrappers"},
    "kueue.x-k8s.io/v1beta1": {"LocalQueue": "localqueues", "Workload": "workloads"},
}


class FakeApi:
    """Use as a context manager. objects: path -> object. requests: "METHOD path?query" as they came. refuse: called
    with method, path and body; what it returns is (status, message) of a refusal."""

    def __init__(self, installed: Mapping[str, Mapping[str, str]] = INSTALLED) -> None:
        self.installed = installed
        self.objects: dict[str, Object] = {}
        self.logs: dict[str, str] = {}  # "namespace/pod/container" -> text
        self.requests: list[str] = []
        #: Token -> user name: then who shows no token of these is not known, and a service account sees its namespace.
        self.people: dict[str, str] = {}
        self.tokens: dict[str, str] = {}  # path of a TokenRequest -> the token
        self.refuse: Callable[[str, str, Object], tuple[int, str] | None] = lambda *_: None
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                with api._lock:
                    status, answer = api.answer(self.command, self.path, body, token)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})

    def __enter__(self) -> FakeApi:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, path: Path) -> Path:
        path.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )
        return path

    def add(self, *objects: Object) -> None:
        for obj in objects:
            obj["metadata"].setdefault("uid", str(uuid.uuid4()))
            self.objects[self.path(obj)] = obj

    def path(self, obj: Object) -> str:
        plural = self.installed[obj["apiVersion"]][obj["kind"]]
        base = f"/api/{obj['apiVersion']}" if "/" not in obj["apiVersion"] else f"/apis/{obj['apiVersion']}"
        namespace = obj["metadata"].get("namespace")
        return f"{base}{f'/namespaces/{namespace}' if namespace else ''}/{plural}/{obj['metadata']['name']}"

    def names(self, kind: str) -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in self.objects.values() if obj["kind"] == kind)

    def changes(self) -> list[str]:
        """Requests that were to change something: no reads, no dry runs, no reviews."""
        return [
            line
            for line in self.requests
            if not line.startswith("GET") and "dryRun" not in line and "review" not in line
        ]

    def answer(self, method: str, target: str, body: Object, token: str = "") -> tuple[int, Any]:
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.requests.append(f"{method} {target}")
        if self.people and (answer := self._who(url.path, token)) is not None:
            return answer
        if (refusal := self.refuse(method, url.path, body)) is not None:
            return refusal[0], {"kind": "Status", "message": refusal[1], "reason": "Invalid"}
        if url.path.endswith("/log"):
            parts = url.path.split("/")
            text = self.logs.get(f"{parts[4]}/{parts[6]}/{query.get('container', '')}", "")
            lines = text.splitlines(keepends=True)
            return 200, "".join(lines[-int(query["tailLines"]) :] if query.get("tailLines", "0") != "0" else lines)
        match method:
            case "GET":
                return self._get(url.path, query)
            case "POST":
                return self._post(url.path, query, body)
            case "PATCH" if url.path in self.objects:
                _merge(self.objects[url.path], body)
                return 200, self.objects[url.path]
            case "DELETE" if url.path in self.objects:
                gone = self.objects.pop(url.path)
                self._collect(gone["metadata"]["uid"])
                return 200, {"kind": "Status", "status": "Success"}
        return 404, {"kind": "Status", "message": f"{url.path} not found", "reason": "NotFound"}

    def _who(self, path: str, token: str) -> tuple[int, Any] | None:
        """What there is to say before the request is looked at."""
        name = self.people.get(token)
        if name is None:
            return 401, {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"}
        account = name.split(":") if name.startswith("system:serviceaccount:") else None
        if path.endswith("/selfsubjectreviews"):
            return 201, {"status": {"userInfo": {"username": name}}}
        if path.endswith("/selfsubjectaccessreviews"):
            return 201, {"status": {"allowed": account is None}}
        if account and f"/namespaces/{account[2]}/" not in f"{path}/" and not path.startswith("/api/v1/nodes"):
            return 403, {"kind": "Status", "message": f"{name} may not {path}", "reason": "Forbidden"}
        return None

    def _get(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        api = path.removeprefix("/apis/").removeprefix("/api/")
        if api in self.installed:
            rows = [{"name": plural, "kind": kind} for kind, plural in self.installed[api].items()]
            return 200, {"kind": "APIResourceList", "resources": rows}
        versions = [name for name in self.installed if name.startswith(f"{api}/")]
        if path.startswith("/apis/") and versions:
            return 200, {"kind": "APIGroup", "preferredVersion": {"groupVersion": versions[0]}}
        known = any(
            path.endswith(f"/{plural}") and f"/{name}/" in f"{path}/"
            for name, kinds in self.installed.items()
            for plural in kinds.values()
        )
        if not known:
            return 404, {"kind": "Status", "message": f"{path} not found", "reason": "NotFound"}
        items = [obj for where, obj in self.objects.items() if self._is_in(where, path) and _selected(obj, query)]
        return 200, {"kind": "List", "items": items}

    def _is_in(self, where: str, collection: str) -> bool:
        folder = where.rpartition("/")[0]
        base, _, plural = collection.rpartition("/")
        return folder == collection or (folder.startswith(f"{base}/namespaces/") and folder.endswith(f"/{plural}"))

    def _post(self, path: str, query: Mapping[str, str], body: Object) -> tuple[int, Any]:
        if path.endswith(("selfsubjectreviews", "selfsubjectaccessreviews")):
            return 201, {"status": {"userInfo": {"username": "alice"}, "allowed": False}}
        if path.endswith("/token"):
            token = self.tokens.get(path)
            return (201, {"status": {"token": token}}) if token else (404, {"message": f"{path} not found"})
        where = f"{path}/{body['metadata']['name']}"
        if where in self.objects:
            return 409, {"kind": "Status", "message": f"{where} already exists", "reason": "AlreadyExists"}
        made = json.loads(json.dumps(body))
        made["metadata"]["uid"] = str(uuid.uuid4())
        if query.get("dryRun") != "All":
            self.objects[where] = made
        return 201, made

    def _collect(self, uid: str) -> None:
        owned = [
            path
            for path, obj in self.objects.items()
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences", ()))
        ]
        for path in owned:
            gone = self.objects.pop(path, None)
            if gone:
                self._collect(gone["metadata"]["uid"])


def _merge(target: Object, patch: Object) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _selected(obj: Object, query: Mapping[str, str]) -> bool:
    labels = obj["metadata"].get("labels") or {}
    terms: Iterable[str] = filter(None, query.get("labelSelector", "").split(","))
    return all(_holds(labels, term) for term in terms)


def _holds(labels: Mapping[str, str], term: str) -> bool:
    key, equals, value = term.partition("=")
    if equals:
        return labels.get(key) == value
    return key[1:] not in labels if key.startswith("!") else key in labels
