"""A small, thread-safe door to the Kubernetes API: plain dicts in and out, plain errors.

The generated client's typed classes know no custom resources and cost memory; its configuration, TLS and transport are
what is used here. Imported lazily, because importing `kubernetes` takes most of a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from arena_install.errors import ArenaError, ConfigError, StepError, UnreachableError

Object = dict[str, Any]

_TIMEOUT = (5.0, 30.0)  # seconds to connect, and between two bytes
_JSON, _MERGE = "application/json", "application/merge-patch+json"
_PATIENCE = 10.0  # seconds for which a read is repeated while the API restarts
_HEARSAY = 10.0  # seconds until every webhook knows of a namespace


def when(text: str) -> float:
    """Unix seconds of a time as the API writes it. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class ApiError(StepError):
    """The API answered, and said no. `status` is the HTTP status."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(what, why=message, fix="")
        self.status = status


class Kube:
    """One identity at one API server. Paths are those of the REST API, such as "/api/v1/nodes"."""

    _answered = False  # whether this API ever did: the first failure is reported at once
    _date = "Thu, 01 Jan 1970 00:00:00 GMT"  # the server's clock when it answered last
    read_only = False  # whether every request but a GET is refused here, before it is sent

    def __init__(self, kubeconfig: Path, *, read_only: bool = False) -> None:
        """Raises ConfigError when the file is missing or is no kubeconfig. Connects to nothing yet."""
        self.read_only, self.file = read_only, kubeconfig
        import urllib3
        from kubernetes import client, config

        load: Any = config.load_kube_config

        if not kubeconfig.is_file():
            raise ConfigError(
                "there is no kubeconfig",
                where=str(kubeconfig),
                why="the control plane has not been set up from here, or the file was moved",
                fix="arena-install up, or name one with --kubeconfig FILE",
            )
        configuration = client.Configuration()
        try:
            load(str(kubeconfig), client_configuration=configuration)
        except Exception as error:  # the client raises anything from KeyError to YAMLError for a bad file
            raise ConfigError(
                "this file is not a usable kubeconfig",
                where=str(kubeconfig),
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="arena-install up writes a fresh one",
            ) from error
        configuration.retries = urllib3.Retry(0)
        configuration.connection_pool_maxsize = 16
        self._connect(configuration)

    def _connect(self, configuration: Any) -> None:
        from kubernetes.client import ApiClient

        self.configuration = configuration  # the generated client's: CA, certificates, proxy
        self._client = ApiClient(configuration)
        self.server: str = configuration.host

    def as_user(self, token: str = "") -> Kube:
        """The same API with another identity: a bearer token, or none at all, and none of the client certificates."""
        import copy

        other = copy.copy(self.configuration)
        other.cert_file = other.key_file = None
        other.username = other.password = None
        other.refresh_api_key_hook = None
        other.api_key = {"BearerToken": f"Bearer {token}"} if token else {}
        other.api_key_prefix = {}
        kube = Kube.__new__(Kube)
        kube.read_only, kube.file = self.read_only, self.file
        kube._connect(other)
        return kube

    # Verbs. `path` is quoted already; query values are not.

    def get(self, path: str, **query: Any) -> Object:
        return cast(Object, json.loads(self._request("GET", path, query)))

    def find(self, path: str, **query: Any) -> Object | None:
        """Like get, None where there is no such object or no such kind."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: Any) -> list[Object]:
        """Every item of a list; kind and apiVersion, which lists leave out, are not added."""
        return cast("list[Object]", self.get(path, **query).get("items") or [])

    def metadata(self, path: str, **query: Any) -> list[Object]:
        """Every item of a list with its metadata alone: CRDs weigh megabytes."""
        kind = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        return cast("list[Object]", json.loads(self._request("GET", path, query, accept=kind)).get("items") or [])

    def text(self, path: str, *, despite: tuple[int, ...] = (), **query: Any) -> str:
        """despite: HTTP statuses that are answers here and not refusals."""
        return self._request("GET", path, query, accept="*/*", despite=despite).decode("utf-8", "replace")

    def status(self, path: str) -> int:
        """The HTTP status of a GET; a refusal is an answer."""
        return self._exchange("GET", path, {}, None, "application/json")[0]

    def now(self) -> float:
        """Unix seconds by the API server's clock, in whole seconds."""
        self.status("/version")
        return parsedate_to_datetime(self._date).timestamp()

    def create(self, path: str, body: Object, **query: Any) -> Object:
        """A webhook that has not heard yet of the namespace, which was made just now, is asked again for a while."""
        deadline = time.monotonic() + _HEARSAY
        while True:
            try:
                return cast(Object, json.loads(self._request("POST", path, query, body)))
            except ApiError as error:
                if error.status != 404 or "denied the request" not in error.why or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def patch(self, path: str, body: Object) -> Object:
        """Lay `body` over an object (a merge patch, RFC 7386): None takes a field away."""
        return cast(Object, json.loads(self._request("PATCH", path, {}, body, content=_MERGE)))

    def delete(self, path: str, *, grace: int | None = None) -> None:
        """Ask for an object's removal; one that is gone already is fine."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            self._request("DELETE", path, {}, body)
        except ApiError as error:
            if error.status != 404:
                raise

    def logs(self, namespace: str, pod: str, container: str = "", *, tail: int | None = None) -> str:
        """A container's log so far, "" while there is none."""
        query: dict[str, Any] = {"container": container} if container else {}
        if tail:
            query["tailLines"] = tail
        try:
            return self.text(f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/log", **query)
        except ApiError as error:
            if error.status in (400, 404):
                return ""
            raise

    def lines(self, path: str, seconds: float) -> Iterator[bytes]:
        """Lines of an answer as they come, such as a watch's; `path` has its query already. seconds: between two bytes.

        Raises ApiError, and OSError where the connection is cut.
        """
        import urllib3

        url = self.server.rstrip("/") + path
        headers = {"Accept": "application/json", "User-Agent": "arena-install", **self.credentials()}
        try:
            response: Any = self._client.call_api(
                "GET", url, header_params=headers, _request_timeout=(_TIMEOUT[0], seconds)
            )
            if response.status >= 400:
                raise self._refused("GET", path, response.status, response.read())
            try:
                yield from filter(None, (line.strip() for line in response.response))
            finally:
                response.response.close()
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(str(error)) from error

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        body: Object | None = None,
        accept: str = _JSON,
        despite: tuple[int, ...] = (),
        content: str = _JSON,
    ) -> bytes:
        status, answer = self._exchange(method, path, query, body, accept, content)
        if status >= 400 and status not in despite:
            raise self._refused(method, path, status, answer)
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        body: Object | None,
        accept: str,
        content_type: str = _JSON,
    ) -> tuple[int, bytes]:
        """(HTTP status, content), whatever the status."""
        import urllib3

        if self.read_only and method != "GET":
            raise StepError(f"{method} {path} was not sent", why="this run is read-only")
        url = self.server.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        until = time.monotonic() + (_PATIENCE if method == "GET" else 0)
        while True:
            headers = {"Accept": accept, "User-Agent": "arena-install", **self.credentials()}
            if body is not None:
                headers["Content-Type"] = content_type
            try:
                response: Any = self._client.call_api(
                    method, url, header_params=headers, body=body, _request_timeout=_TIMEOUT
                )
                content: bytes = response.read()
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if time.monotonic() < until and self._answered:
                    time.sleep(1)
                    continue
                raise self.unreachable(error) from error
            except ArenaError:
                raise
            except Exception as error:
                raise self.unreachable(error) from error
            self._answered = True
            self._date = response.headers.get("Date") or self._date
            if response.status in (429, 502, 503, 504) and time.monotonic() < until:
                time.sleep(1)
                continue
            return response.status, content

    def credentials(self) -> dict[str, str]:
        """Headers that say who asks; empty where a client certificate does, or nothing."""
        headers: dict[str, str] = {}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        return headers


    def unreachable(self, error: Exception) -> UnreachableError:
        reason = getattr(error, "reason", None) or error
        return UnreachableError(
            "the Kubernetes API does not answer",
            where=urlsplit(self.server).netloc,
            why=" ".join(str(reason).split())[:300],
            fix="arena-install doctor shows whether the control plane's host and its services are up",
        )

    def _refused(self, method: str, path: str, status: int, content: bytes) -> ApiError | UnreachableError:
        try:
            message = str(json.loads(content).get("message") or "")
        except (ValueError, AttributeError):
            message = content.decode("utf-8", "replace").strip()[:300]
        if status == 401:
            return UnreachableError(
                "the Kubernetes API does not accept this identity",
                where=urlsplit(self.server).netloc,
                why=message or "401 Unauthorized",
                fix="the kubeconfig's certificate may have expired: arena-install up fetches a fresh one",
            )
        return ApiError(f"the API refused {method} {path}", status, f"{status}: {message}")


def segment(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def namespaced(kind: str, namespace: str, name: str = "", *, group: str = "") -> str:
    """The path of a namespaced kind ("pods"), or of one object; group is "apps/v1", empty for the core."""
    base = f"/apis/{group}" if group else "/api/v1"
    path = f"{base}/namespaces/{segment(namespace)}/{kind}"
    return f"{path}/{segment(name)}" if name else path
