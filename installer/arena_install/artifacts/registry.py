"""Images from OCI registries into the cache, byte for byte: upstream's manifest keeps its digest and its signatures."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from arena_install.artifacts.cache import Blob, Cache
from arena_install.artifacts.network import Http, Progress, Refused, first_of, part_name, secret
from arena_install.artifacts.oci import BuiltImage
from arena_install.errors import StepError

_LISTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: Registries whose API lives on another host than their references say.
_API_HOSTS = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class Reference:
    registry: str  # as written, "docker.io"
    repository: str  # "library/busybox"
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """ "registry.k8s.io/pause:3.10". Raises StepError for anything without a registry and a tag."""
        match = re.fullmatch(r"([^/]+)/(.+):([\w][\w.-]{0,127})", text)
        if not match:
            raise StepError(f"{text} is no image reference with registry and tag")
        return cls(*match.groups())


@dataclass
class Registry:
    """A client for all registries. Safe to use from several threads."""

    http: Http
    cache: Cache
    arch: str
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pull(self, text: str, progress: Progress | None = None) -> BuiltImage:
        """Fetch an image for our architecture; every blob is checked by its digest.

        Raises Refused (no such image, no access), UnreachableError, or StepError for bytes that are not what was named.
        """
        reference = Reference.parse(text)
        return first_of(self.bases(reference), lambda base: self._pull(base, reference, progress))

    def bases(self, reference: Reference) -> list[str]:
        """URLs of the repository: a mirror's, whose path is a prefix of repositories, then upstream's."""
        urls = []
        if mirror := self.http.settings.mirrors.get(reference.registry):
            parts = urlsplit(mirror)
            prefix = parts.path.strip("/").removeprefix("v2").strip("/")
            urls.append(f"{parts.scheme}://{parts.netloc}/v2/{prefix + '/' if prefix else ''}{reference.repository}")
        host = _API_HOSTS.get(reference.registry, reference.registry)
        return [*urls, f"https://{host}/v2/{reference.repository}"]

    def _pull(self, base: str, reference: Reference, progress: Progress | None) -> BuiltImage:
        body, media_type = self._manifest(base, reference, reference.tag)
        if media_type in _LISTS:
            digest = self._platform(json.loads(body), reference)
            body, media_type = self._manifest(base, reference, digest)
        if media_type not in _MANIFESTS:
            raise StepError(f"{reference.repository}:{reference.tag} has a manifest of an unknown kind", why=media_type)
        manifest = json.loads(body)
        rows: list[Mapping[str, Any]] = [manifest["config"], *manifest["layers"]]
        total = sum(int(row["size"]) for row in rows)
        done = 0
        blobs: list[tuple[Blob, str]] = []
        for row in rows:
            before = done

            def moved(have: int, _: int, before: int = before) -> None:
                if progress:
                    progress(before + have, total)

            blobs.append((self._blob(base, reference, row, moved), str(row["mediaType"])))
            done += int(row["size"])
        return BuiltImage(self.cache.put_bytes(body), tuple(blobs), media_type)

    def _manifest(self, base: str, reference: Reference, wanted: str) -> tuple[bytes, str]:
        url = f"{base}/manifests/{wanted}"
        accept = ", ".join((*_LISTS, *_MANIFESTS))
        body, headers = self._authorised(url, reference, lambda auth: self.http.get(url, {"Accept": accept, **auth}))
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        promised = wanted if wanted.startswith("sha256:") else headers.get("Docker-Content-Digest") or digest
        if digest != promised:
            raise StepError(
                "a manifest is not what the registry promised", where=url, why=f"{digest} instead of {promised}"
            )
        return body, str(json.loads(body).get("mediaType") or (headers.get("Content-Type") or "").partition(";")[0])

    def _platform(self, index: Mapping[str, Any], reference: Reference) -> str:
        for row in index.get("manifests", ()):
            platform = row.get("platform", {})
            if platform.get("os") == "linux" and platform.get("architecture") == self.arch:
                return str(row["digest"])
        raise StepError(f"{reference.repository}:{reference.tag} is not published for linux/{self.arch}")

    def _blob(self, base: str, reference: Reference, row: Mapping[str, Any], progress: Progress) -> Blob:
        sha256 = str(row["digest"]).removeprefix("sha256:")
        if self.cache.path(sha256).is_file():
            return Blob(sha256, self.cache.verified(sha256).stat().st_size)
        url = f"{base}/blobs/{row['digest']}"
        part = self.cache.root / "partial" / part_name(str(row["digest"]))
        self._authorised(url, reference, lambda auth: self.http.download(url, part, headers=auth, progress=progress))
        try:
            return self.cache.put_file(part, expected=sha256)
        except StepError:
            part.unlink(missing_ok=True)
            raise

    def _authorised(self, url: str, reference: Reference, ask: Any) -> Any:
        """Ask with the token that we have; if the registry wants another one, get that and ask again."""
        host = urlsplit(url).netloc
        scope = f"repository:{reference.repository}:pull"
        with self._lock:
            known = self._tokens.get((host, scope), "")
        try:
            return ask({"Authorization": known} if known else {})
        except Refused as error:
            if error.status != 401:
                raise
        token = self._login(url, host, reference)
        with self._lock:
            self._tokens[(host, scope)] = token
        return ask({"Authorization": token})

    def _login(self, url: str, host: str, reference: Reference) -> str:
        with self.http.open("GET", url) as response:
            challenge = response.headers.get("WWW-Authenticate") or ""
        pair = self._pull_secret(host, reference)
        basic = "Basic " + base64.b64encode(pair.encode()).decode() if pair else ""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and basic:
            return basic
        words = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or "realm" not in words:
            raise StepError(
                f"{host} wants a login",
                where=url,
                fix=f'set artifacts.pull_secrets: {{"{reference.registry}": "user:env:NAME"}}',
            )
        query = {key: words[key] for key in ("service", "scope") if key in words}
        token_url = f"{words['realm']}?{urlencode(query)}"
        try:
            body, _ = self.http.get(token_url, {"Authorization": basic} if basic else {})
        except Refused as error:
            error.fix = f"check artifacts.pull_secrets for {reference.registry}"
            raise
        answer = json.loads(body)
        return f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _pull_secret(self, host: str, reference: Reference) -> str:
        secrets = self.http.settings.pull_secrets
        names = {host, host.partition(":")[0]}
        if host == _API_HOSTS.get(reference.registry, reference.registry):
            names.add(reference.registry)
        for name in names:
            if value := secrets.get(name):
                if value.startswith("env:"):
                    return secret(value, f"artifacts.pull_secrets.{name}")
                user, _, password = value.partition(":")
                return f"{user}:{secret(password, f'artifacts.pull_secrets.{name}')}"
        return ""
