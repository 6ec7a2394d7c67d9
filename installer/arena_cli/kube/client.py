"""HTTP to the API server: one connection for each thread, kept open; no throttle. The standard library's client: it is
there in a twentieth of a second, the generated one needs most of a second."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

from arena_cli.kube.config import Access
from arena_install.errors import ConfigError, StepError, UnreachableError

Object = dict[str, Any]
T = TypeVar("T")

_CONNECT, _READ = 10.0, 60.0  # seconds
_AT_ONCE = 4  # connections; each costs a handshake
_BUSY, _PAUSE = 5, 1.0  # how often a server that is too busy to answer is asked again, seconds between


class ApiError(StepError):
    """The API answered, and said no. status: of HTTP. reason: Kubernetes' word, as AlreadyExists."""

    def __init__(self, what: str, status: int, reason: str, message: str, fix: str = "") -> None:
        super().__init__(what, why=message, fix=fix)
        self.status, self.reason, self.message = status, reason, message


class UnknownError(UnreachableError):
    """The API does not know who asks: what was shown has expired, or is another cluster's."""


class Client:
    """One identity at one API server. Paths are those of the REST API, such as /api/v1/nodes."""

    def __init__(self, access: Access, *, debug: bool = False) -> None:
        self.access, self.debug = access, debug
        self._url = urlsplit(access.server)
        self.tls = _context(access) if self._url.scheme == "https" else None
        self._local = threading.local()

    def get(self, path: str, **query: Any) -> Object:
        return cast(Object, json.loads(self._request("GET", path, query)))

    def find(self, path: str, **query: Any) -> Object | None:
        """Like get; None where there is no such object or kind."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, **query: Any) -> list[Object]:
        """A whole list, out of the server's memory: what is shown may be as old as a watch's last word, which is what
        resourceVersion 0 says. A kind that is not installed has no items."""
        found = self.find(path, **{"resourceVersion": "0", **query})
        return cast("list[Object]", (found or {}).get("items") or [])

    def each(self, paths: Iterable[str], ask: Callable[[str], T]) -> list[T | None]:
        """ask(path) of every path, side by side; None where one may not ask. See `sift`."""
        return sift(self.together([partial(allowed, ask, path) for path in paths]))

    def preferred(self, group: str) -> str:
        """ "group/version" as the server would have it, "" where the group is not installed."""
        found = self.find(f"/apis/{group}") or {}
        return str((found.get("preferredVersion") or {}).get("groupVersion") or "")

    def text(self, path: str, **query: Any) -> str:
        return self._request("GET", path, query, accept="*/*").decode("utf-8", "replace")

    def create(self, path: str, body: Object, **query: Any) -> Object:
        return cast(Object, json.loads(self._request("POST", path, query, body)))

    def patch(self, path: str, body: Object, *, strategic: bool = False) -> Object:
        """strategic: rows of lists are found by their names; for Kubernetes' own kinds only."""
        kind = f"application/{'strategic-merge' if strategic else 'merge'}-patch+json"
        return cast(Object, json.loads(self._request("PATCH", path, {}, body, content=kind)))

    def delete(self, path: str) -> bool:
        """False: it was not there."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            self._request("DELETE", path, {}, body)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def lines(self, path: str, **query: Any) -> Iterator[str]:
        """A stream's lines as they come: a log that is followed, or a watch."""
        connection, response = self._open("GET", path, query, None, "*/*", "", None)
        try:
            if response.status >= 400:
                raise self._refused("GET", path, response.status, response.read())
            while line := response.readline():
                yield line.decode("utf-8", "replace").rstrip("\n")
        except (http.client.IncompleteRead, ConnectionResetError):
            return
        finally:
            connection.close()
            self._local.connection = None

    def together(self, calls: Iterable[Callable[[], T]]) -> list[T]:
        """Results in the order of the calls, which run side by side. The first error is raised."""
        calls = list(calls)
        if len(calls) == 1:
            return [calls[0]()]
        with ThreadPoolExecutor(min(_AT_ONCE, len(calls))) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Object | None = None,
        *,
        accept: str = "application/json",
        content: str = "application/json",
    ) -> bytes:
        for _ in range(_BUSY if method == "GET" else 0):
            status, data = self._exchange(method, path, query, body, accept, content)
            if status not in (429, 503):
                break
            time.sleep(_PAUSE)
        else:
            status, data = self._exchange(method, path, query, body, accept, content)
        if status >= 400:
            raise self._refused(method, path, status, data)
        return data

    def _exchange(
        self, method: str, path: str, query: Mapping[str, Any], body: Object | None, accept: str, content: str
    ) -> tuple[int, bytes]:
        started = time.monotonic()
        connection, response = self._open(method, path, query, body, accept, content, _READ)
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            raise self._gone(error) from error
        if self.debug:
            took = (time.monotonic() - started) * 1000
            print(f"debug: {method} {path} {response.status} {len(data)} B {took:.0f} ms", file=sys.stderr)
        return response.status, data

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Object | None,
        accept: str,
        content: str,
        timeout: float | None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = f"{self._url.path}{path}"
        if pairs := [(key, value) for key, value in query.items() if value is not None]:
            target += f"?{urlencode(pairs)}"
        headers = {"Accept": accept, "User-Agent": "arena"}
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        elif self.access.basic:
            headers["Authorization"] = f"Basic {self.access.basic}"
        data = json.dumps(body).encode() if body is not None else None
        if data is not None:
            headers["Content-Type"] = content
        kept = getattr(self._local, "connection", None)
        for connection in ([kept] if kept else []) + [None]:
            try:
                fresh = connection or self._connect()
                fresh.sock.settimeout(timeout)
                fresh.request(method, target, data, headers)
                self._local.connection = fresh
                return fresh, fresh.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                # A kept connection may have been closed meanwhile. What may have been done already is not sent twice.
                stale = isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError))
                if connection is None or not stale or method not in ("GET", "DELETE"):
                    raise self._gone(error) from error
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or (443 if self.tls else 80)
        proxy = urlsplit(self.access.proxy or _proxy(host))
        there, door = (proxy.hostname or "", proxy.port or 3128) if proxy.hostname else (host, port)
        if self.tls is None:
            plain = http.client.HTTPConnection(there, door, timeout=_CONNECT)
            plain.connect()
            return plain
        secure = _Https(there, door, timeout=_CONNECT, context=self.tls, name=self.access.server_name)
        if proxy.hostname:
            secure.set_tunnel(host, port)
        secure.connect()
        return secure

    def _gone(self, error: BaseException) -> UnreachableError | ConfigError:
        where = self._url.netloc
        if isinstance(error, ssl.SSLCertVerificationError):
            return UnreachableError(
                "the API server's certificate is not trusted",
                where=where,
                why=error.verify_message,
                fix="the kubeconfig may be of another cluster, or of before it was made anew",
            )
        why = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
        if isinstance(error, socket.gaierror):
            why = f"its name is not known here ({error.strerror})"
        return UnreachableError(
            "the Kubernetes API does not answer",
            where=where,
            why=why,
            fix="see that the kubeconfig is the right one, and that you can reach the cluster",
        )

    def _refused(self, method: str, path: str, status: int, data: bytes) -> StepError | UnreachableError:
        try:
            body = json.loads(data)
            message, reason = str(body.get("message") or ""), str(body.get("reason") or "")
        except (ValueError, AttributeError):
            message, reason = data.decode("utf-8", "replace").strip()[:300], ""
        if status == 401:
            return UnknownError(
                "the cluster does not know you",
                where=self._url.netloc,
                why=message,
                fix="your kubeconfig may have expired: ask for a new one",
            )
        if status == 403:
            return ApiError(
                "you may not do this",
                status,
                reason,
                message,
                "ask your cluster's operator, or name your own namespace with -n",
            )
        return ApiError(f"the API refused {method} {path}", status, reason, message)


def allowed(ask: Callable[[str], T], path: str) -> T | ApiError:
    """The answer, or the error where one may not ask."""
    try:
        return ask(path)
    except ApiError as error:
        if error.status != 403:
            raise
        return error


def sift(answers: Iterable[T | ApiError]) -> list[T | None]:
    """None in place of errors, which are raised only if there is nothing else: whoever has no rights to a kind is told
    403 for it, also where it is not installed at all."""
    answers = list(answers)
    refused = [row for row in answers if isinstance(row, ApiError)]
    if refused and len(refused) == len(answers):
        raise refused[0]
    return [None if isinstance(row, ApiError) else row for row in answers]


class _Https(http.client.HTTPSConnection):
    """Checks the certificate for another name than the address's, where the kubeconfig says so."""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls, self._name = context, name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        tunnel = getattr(self, "_tunnel_host", None)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name or tunnel or self.host)


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca or None)
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # A cluster's CA need not say what only public ones must.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if access.cert and access.key:
        descriptor, path = tempfile.mkstemp(prefix="arena-", suffix=".pem")  # only its owner can read it
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{access.cert}\n{access.key}\n")
            context.load_cert_chain(path)
        except ssl.SSLError as error:
            raise ConfigError("the kubeconfig's client certificate can't be used", why=str(error)) from error
        finally:
            Path(path).unlink()
    return context


def _proxy(host: str) -> str:
    if not any(key in os.environ for key in ("https_proxy", "HTTPS_PROXY")):
        return ""
    from urllib.request import getproxies, proxy_bypass

    return "" if proxy_bypass(host) else getproxies().get("https", "")


def at(api: str, plural: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """The path of a kind, or of one object. api: "v1" or "apps/v1"; no namespace: all of them."""
    base = f"/api/{api}" if "/" not in api else f"/apis/{api}"
    if namespace:
        base += f"/namespaces/{quote(namespace, safe='')}"
    base += f"/{plural}"
    if name:
        base += f"/{quote(name, safe='')}"
    return f"{base}/{sub}" if sub else base
