"""The few calls to the API server that the stack makes, on plain JSON objects.

The `kubernetes` client reads the kubeconfig and does authentication and TLS; its typed models are left aside, because
what is applied here is upstream's YAML and must go through unchanged. Every failure becomes an error of ours.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from arena_install.errors import ConfigError, StepError, UnreachableError

MANAGER = "arena-install"  # field manager of everything we apply

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Object = dict[str, Any]


class ApiError(StepError):
    """The API server refused; code is the HTTP status, reason Kubernetes' own word (NotFound, Conflict, ...)."""

    def __init__(self, what: str, *, code: int, reason: str, message: str) -> None:
        super().__init__(what, why=message)
        self.code, self.reason, self.message = code, reason, message


def _retries(*, read: int) -> Any:
    """Few and soon: what is left to urllib3 is tried ten times, with pauses of up to two minutes."""
    import urllib3

    return urllib3.Retry(total=2, connect=2, read=read, other=1, redirect=0, backoff_factor=0.2, backoff_max=1)


class Api:
    """A connection to one cluster; safe to use from several threads."""

    def __init__(self, kubeconfig: Path, *, timeout: float = 30.0) -> None:
        """Raises ConfigError for an unusable kubeconfig. timeout: seconds a request may take."""
        from kubernetes import config as loader

        if not kubeconfig.is_file():
            raise ConfigError("there is no kubeconfig", where=str(kubeconfig), fix="run `arena-install up` first")
        try:
            self._client: Any = loader.new_client_from_config(config_file=str(kubeconfig))  # type: ignore[no-untyped-call]
        except Exception as error:  # the client raises its own, yaml's and OSError alike
            raise ConfigError("the kubeconfig can't be used", where=str(kubeconfig), why=str(error)) from error
        self.kubeconfig = kubeconfig
        self.host = str(self._client.configuration.host).rstrip("/")
        self._timeout = timeout
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._client.close()

    # requests

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        text: bool = False,
    ) -> Any:
        """One call; returns the decoded JSON (or the raw text). Raises ApiError, or UnreachableError."""
        import urllib3

        headers = {"Accept": accept, "User-Agent": MANAGER}
        for setting in self._client.configuration.auth_settings().values():
            if setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = content_type
        url = self.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._client.rest_client.pool_manager.request(
                method, url, body=data, headers=headers, timeout=urllib3.Timeout(connect=5, read=self._timeout),
                retries=_retries(read=1 if method == "GET" else 0),
            )
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(
                "the Kubernetes API does not answer", where=self.host, why=str(reason),
                fix="see that the control plane is up: `arena-install doctor`",
            ) from error
        if response.status >= 400:
            raise _refused(method, path, response.status, response.data)
        if text:
            return response.data.decode(errors="replace")
        return json.loads(response.data) if response.data else {}

    # discovery

    def path(self, api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
        """URL path of a collection, or of one object. A kind the server does not know raises ApiError 404."""
        plural, namespaced = self._resource(api_version, kind)
        prefix = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        middle = f"/namespaces/{quote(namespace)}" if namespaced and namespace else ""
        return f"{prefix}{middle}/{plural}" + (f"/{quote(name)}" if name else "")

    def namespaced(self, api_version: str, kind: str) -> bool:
        return self._resource(api_version, kind)[1]

    def knows(self, api_version: str, kind: str) -> bool:
        """Is this kind served right now?"""
        try:
            self._resource(api_version, kind)
        except ApiError as error:
            _none_if_missing(error)
            return False
        return True

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        with self._lock:
            known = self._resources.get(api_version, {})
        if kind not in known:
            prefix = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            found = self.request("GET", prefix)
            known = {
                row["kind"]: (row["name"], bool(row["namespaced"]))
                for row in found.get("resources", ())
                if "/" not in row["name"]
            }
            with self._lock:
                self._resources[api_version] = known
        if kind not in known:
            raise ApiError(
                f"the cluster knows no {kind} in {api_version}", code=404, reason="NotFound", message="no such resource"
            )
        return known[kind]

    # objects

    def get(
        self, api_version: str, kind: str, name: str, namespace: str = "", *, metadata_only: bool = False
    ) -> Object | None:
        """The object, or None where it (or its whole kind) is not there."""
        accept = _METADATA if metadata_only else "application/json"
        try:
            found: Object = self.request("GET", self.path(api_version, kind, namespace, name), accept=accept)
        except ApiError as error:
            _none_if_missing(error)
            return None
        return found

    def list_objects(self, api_version: str, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """All objects (of a namespace); [] where the kind is not there. Follows continue tokens."""
        return self._list(api_version, kind, namespace, "application/json", query)

    def list_metadata(self, api_version: str, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """As list_objects, but each object has only its metadata: cheap where contents are large or secret."""
        return self._list(api_version, kind, namespace, _METADATA_LIST, query)

    def _list(self, api_version: str, kind: str, namespace: str, accept: str, query: Mapping[str, str]) -> list[Object]:
        items: list[Object] = []
        token = ""
        while True:
            more = {**query, "limit": "500"} | ({"continue": token} if token else {})
            try:
                page = self.request("GET", self.path(api_version, kind, namespace), query=more, accept=accept)
            except ApiError as error:
                _none_if_missing(error)
                return items
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return items

    def apply(self, obj: Mapping[str, Any], *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply as our field manager; returns the metadata alone (a CRD can have a megabyte).

        A conflict with another manager raises ApiError 409 unless forced.
        """
        metadata = obj["metadata"]
        query = {"fieldManager": MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = self.path(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])
        found: Object = self.request(
            "PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml", accept=_METADATA
        )
        return found

    def replace(self, obj: Mapping[str, Any], *, manager: str = MANAGER) -> Object:
        """Put an object in the place of the one with its resourceVersion; ApiError 409 if that has changed since."""
        metadata = obj["metadata"]
        path = self.path(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])
        found: Object = self.request("PUT", path, query={"fieldManager": manager}, body=obj, accept=_METADATA)
        return found

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        path = self.path(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace", ""))
        query = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
        found: Object = self.request("POST", path, query=query, body=obj)
        return found

    def merge(self, api_version: str, kind: str, name: str, change: object, namespace: str = "") -> Object:
        """JSON merge patch: a null takes a key out."""
        found: Object = self.request(
            "PATCH",
            self.path(api_version, kind, namespace, name),
            query={"fieldManager": MANAGER},
            body=change,
            content_type="application/merge-patch+json",
        )
        return found

    def wait_gone(self, api_version: str, kind: str, name: str, namespace: str = "", seconds: float = 60.0) -> bool:
        """Wait until an object that is being deleted is gone; False if it still is there after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.get(api_version, kind, name, namespace, metadata_only=True) is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.3)
        return True

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> bool:
        """Delete in the background; False if it was not there."""
        try:
            path = self.path(api_version, kind, namespace, name)
            self.request("DELETE", path, query={"propagationPolicy": "Background"})
        except ApiError as error:
            _none_if_missing(error)
            return False
        return True


def _none_if_missing(error: ApiError) -> None:
    if error.code != 404:
        raise error


def _refused(method: str, path: str, status: int, data: bytes) -> ApiError:
    try:
        answer = json.loads(data)
        causes = [str(row.get("message", "")) for row in (answer.get("details") or {}).get("causes") or ()]
        said = str(answer.get("message", ""))
        reason = str(answer.get("reason", ""))
        message = " ".join([said, *(cause for cause in causes if cause and cause not in said)])
    except (ValueError, AttributeError):
        reason, message = "", data.decode(errors="replace")[:500]
    what = f"the Kubernetes API refused {method} {path} ({status} {reason})".replace(" )", ")")
    return ApiError(what, code=status, reason=reason, message=message)
