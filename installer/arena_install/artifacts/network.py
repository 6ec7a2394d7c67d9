"""HTTPS as users behind slow borders need it: mirrors, proxies with credentials, a CA of their own, and resuming.

A download that is cut goes on where it was, in this run or the next: the part and what the server said about it (its
ETag or date) are kept in the cache. Nothing is believed for having arrived: callers check a digest or the length.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from arena_install.errors import ArenaError, ConfigError, StepError, UnreachableError
from arena_install.inventory.config import Artifacts

TRIES = 5
_CHUNK = 1 << 18
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
T = TypeVar("T")
Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0: unknown)


class Refused(StepError):
    """The server answered, and the answer is no; `status` is HTTP's."""

    def __init__(self, status: int, url: str, text: str) -> None:
        super().__init__(f"{_host(url)} answered {status} to {url}", why=text[:300])
        self.status = status


@dataclass
class Http:
    """A client made from the configuration; safe to use from several threads. pause: seconds before the first retry."""

    settings: Artifacts
    pause: float = 1.0
    timeout: float = 30.0  # to connect, and between two pieces of data
    _managers: dict[str, urllib3.PoolManager] = field(default_factory=dict)

    @contextmanager
    def open(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 0
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One request, redirects followed (credentials stay with their host); the body is not read yet.

        Raises urllib3's HTTPError if nothing answers, ConfigError for a bad proxy or CA.
        """
        sent = {"User-Agent": "arena-install", **(headers or {})}
        for _ in range(10):
            response = self._manager(url).request(
                method, url, headers=sent, redirect=False, retries=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=timeout or self.timeout, read=timeout or self.timeout),
            )  # fmt: skip
            target = response.headers.get("Location")
            if response.status in (301, 302, 303, 307, 308) and target:
                response.release_conn()
                target = urljoin(url, target)
                if urlsplit(target).scheme != "https" and urlsplit(url).scheme == "https":
                    raise StepError(f"{_host(url)} redirects from https to {urlsplit(target).scheme}", where=url)
                if urlsplit(target).netloc != urlsplit(url).netloc:
                    sent.pop("Authorization", None)
                url = target
                continue
            try:
                yield response
            finally:
                response.close() if method != "HEAD" else response.release_conn()
            return
        raise StepError("too many redirects", where=url)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """A small body and its headers, with retries. Raises Refused, or UnreachableError."""

        def once() -> tuple[bytes, Mapping[str, str]]:
            with self.open("GET", url, headers) as response:
                body = response.read(16 << 20)
                if response.status >= 300:
                    raise Refused(response.status, url, body.decode(errors="replace"))
                return body, response.headers

        return self._retrying(url, once)

    def download(
        self, url: str, part: Path, *, headers: Mapping[str, str] | None = None, progress: Progress | None = None
    ) -> Path:
        """Bring a file to `part`, going on with what is there already. Raises Refused or UnreachableError."""
        note = part.with_name(part.name + ".json")
        part.parent.mkdir(parents=True, exist_ok=True)

        def once() -> Path:
            have, same = _resumable(part, note, url)
            sent = dict(headers or {})
            if have:
                sent |= {"Range": f"bytes={have}-", "If-Range": same}
            with self.open("GET", url, sent) as response:
                if response.status == 416:
                    part.unlink(missing_ok=True)
                    raise HTTPError("the server has another file now")
                if response.status not in (200, 206):
                    raise Refused(response.status, url, response.read(2000).decode(errors="replace"))
                if response.status == 200 or not (response.headers.get("Content-Range") or "").startswith(
                    f"bytes {have}-"
                ):
                    if response.status == 206:
                        part.unlink(missing_ok=True)
                        raise HTTPError("the server sent another part than the one asked for")
                    have = 0
                note.write_text(json.dumps({"url": url, "same": _validator(response.headers)}))
                length = int(response.headers.get("Content-Length") or 0)
                total = have + length if length else 0
                with part.open("ab" if have else "wb") as file:
                    for chunk in response.stream(_CHUNK):
                        file.write(chunk)
                        have += len(chunk)
                        if progress:
                            progress(have, total)
                if total and have != total:
                    raise HTTPError(f"{have} of {total} bytes came")
            note.unlink(missing_ok=True)
            return part

        return self._retrying(url, once)

    def candidates(self, url: str) -> list[str]:
        """Where to ask for something of upstream's: the mirror configured for its host first, then upstream."""
        parts = urlsplit(url)
        mirror = self.settings.mirrors.get(parts.netloc)
        rest = parts.path + (f"?{parts.query}" if parts.query else "")
        return [*([mirror.rstrip("/") + rest] if mirror else []), url]

    def _retrying(self, url: str, once: Callable[[], T]) -> T:
        for attempt in range(TRIES):
            try:
                return once()
            except Refused as error:
                if error.status not in _TEMPORARY or attempt == TRIES - 1:
                    raise
            except (HTTPError, OSError) as error:
                if attempt == TRIES - 1:
                    raise unreachable(url, error) from error
            time.sleep(self.pause * 2**attempt)
        raise AssertionError

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = self._proxy_for(url)
        if proxy not in self._managers:
            context = self._context()
            if proxy:
                parts = urlsplit(proxy)
                headers = {}
                if parts.username:
                    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                    headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
                address = f"{parts.scheme}://{parts.hostname}:{parts.port or 3128}"
                self._managers[proxy] = urllib3.ProxyManager(
                    address, proxy_headers=headers, ssl_context=context, proxy_ssl_context=context, maxsize=8
                )
            else:
                self._managers[proxy] = urllib3.PoolManager(ssl_context=context, maxsize=8)
        return self._managers[proxy]

    def _proxy_for(self, url: str) -> str:
        host = urlsplit(url).hostname or ""
        if self.settings.proxy:
            outside = any(
                host == one.lstrip(".") or host.endswith("." + one.lstrip(".")) for one in self.settings.no_proxy
            )
            return "" if outside else proxy_url(self.settings.proxy)
        if urllib.request.proxy_bypass(host):
            return ""
        return urllib.request.getproxies().get(urlsplit(url).scheme, "")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.settings.ca_file:
            try:
                context.load_verify_locations(self.settings.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    "the CA file can't be used", where=f"artifacts.ca_file: {self.settings.ca_file}", why=str(error),
                    fix="name a PEM file with the certificate of your border's CA",
                ) from error  # fmt: skip
        return context


def unreachable(url: str, error: Exception) -> UnreachableError:
    """The error for a server that does not answer, with a fix that fits."""
    text = str(error.__cause__ or error)
    fix = "check the network, or set artifacts.mirrors, artifacts.proxy, or artifacts.way: build"
    if "CERTIFICATE_VERIFY" in text:
        fix = "if a border of yours re-signs connections, name its CA in artifacts.ca_file"
    elif "407" in text:
        fix = "the proxy wants a user and password: artifacts.proxy: http://user:env:NAME@host:port"
    return UnreachableError(f"{_host(url)} can't be reached", where=url, why=redact(text), fix=fix)


def proxy_url(value: str) -> str:
    """A configured proxy with its password filled in (env:NAME is looked up). Raises ConfigError."""
    match = re.fullmatch(r"(https?)://(?:([^:@/]*)(?::(.*))?@)?([^@/]+?)/?", value)
    if not match:
        raise ConfigError(
            "the proxy is no http(s) URL", where="artifacts.proxy", fix="write http://user:env:NAME@host:port"
        )
    scheme, user, password, address = match.groups()
    if not user:
        return f"{scheme}://{address}"
    word = secret(unquote(password or ""), "artifacts.proxy")
    return f"{scheme}://{quote(unquote(user), safe='')}:{quote(word, safe='')}@{address}"


def secret(value: str, where: str) -> str:
    """A secret as configured: itself, or env:NAME for what that variable holds. Raises ConfigError if it is not set."""
    if not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    if name not in os.environ:
        raise ConfigError(f"the environment has no {name}", where=where, fix=f"export {name}=...")
    return os.environ[name]


def trust_bundle(extra: Path, out: Path) -> Path:
    """The system's certificates and a file of the user's in one PEM file, for programs that take only one."""
    system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    try:
        known = Path(system).read_bytes() if Path(system).is_file() else b""
        out.write_bytes(known + b"\n" + extra.read_bytes())
    except OSError as error:
        raise ConfigError("the CA file can't be read", where=f"artifacts.ca_file: {extra}", why=str(error)) from error
    return out


def redact(text: str) -> str:
    """Text without passwords in URLs."""
    return re.sub(r"(://[^/\s:@]+):[^/\s@]+@", r"\1:***@", text)


def part_name(url: str) -> str:
    """File name for the unfinished part of a URL."""
    return hashlib.sha256(url.encode()).hexdigest()


def first_of(urls: list[str], attempt: Callable[[str], T]) -> T:
    """Try a mirror, then upstream. Raises the last error, which also tells of the others."""
    problems: list[ArenaError] = []
    for url in urls:
        try:
            return attempt(url)
        except (Refused, UnreachableError) as error:
            problems.append(error)
    last = problems[-1]
    last.why = "\n".join([last.why, *(f"before that: {one.what}" for one in problems[:-1])]).strip()
    raise last


def _resumable(part: Path, note: Path, url: str) -> tuple[int, str]:
    try:
        said = json.loads(note.read_text())
        if said["url"] == url and said["same"]:
            return part.stat().st_size, said["same"]
    except (OSError, ValueError, KeyError):
        pass
    return 0, ""


def _validator(headers: Mapping[str, str]) -> str:
    """What says that a file on the server is still the same one: a strong ETag, else its date."""
    etag = headers.get("ETag") or ""
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified") or ""


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
