"""An upstream of our own on 127.0.0.1: TLS by a CA made for the run, files with Range, a registry, a CONNECT proxy."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

_DOCKER = "application/vnd.docker"
HOSTS = ["localhost", "dl.example.test", "registry.example.test", "mirror.example.test"]


@dataclass
class Upstream:
    """files: path -> bytes. cuts: path -> how many more times the connection breaks in the middle of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def paths(self, method: str = "GET") -> list[str]:
        return [path for verb, path, _ in self.asked if verb == method]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: Upstream

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        self.upstream.asked.append((self.command, self.path, dict(self.headers)))
        if answer := self.upstream.answers.get(path):
            answer(self)
            return
        content = self.upstream.files.get(path)
        if content is None:
            reply(self, 404, b"no such file")
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start, status, extra = 0, 200, {"ETag": etag}
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and self.headers.get("If-Range") == etag:
            start = int(wanted[6:].rstrip("-"))
            status, extra["Content-Range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.upstream.cuts.get(path, 0) > 0 and self.command == "GET":
            self.upstream.cuts[path] -= 1
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(content) - start)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        reply(self, status, content[start:], **extra)


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@dataclass(frozen=True)
class Authority:
    file: Path
    certificate: Path
    key: Path


@dataclass
class Proxy:
    """A proxy that tunnels every host to one port of ours, for those who know the password."""

    port: int
    target: int
    asked: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass
class Image:
    manifest: bytes
    digest: str
    blobs: dict[str, bytes]


def publish_image(upstream: Upstream, repository: str, tag: str, *, secret: str = "", broken: bool = False) -> Image:
    """Put an image behind a manifest list (and a token, if secret is "user:password") on the registry."""
    layer, config = b"layer of " + repository.encode() * 2000, b'{"architecture":"amd64","os":"linux"}'
    blobs = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in (config, layer)}
    (config_digest, layer_digest) = blobs
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{_DOCKER}.distribution.manifest.v2+json",
            "config": {"mediaType": f"{_DOCKER}.container.image.v1+json", "digest": config_digest, "size": len(config)},
            "layers": [{"mediaType": f"{_DOCKER}.image.rootfs.diff.tar", "digest": layer_digest, "size": len(layer)}],
        }
    ).encode()  # fmt: skip
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}},
                {"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        }
    ).encode()
    base = f"/v2/{repository}"
    content = {f"{base}/manifests/{tag}": index, f"{base}/manifests/{digest}": manifest}
    content |= {f"{base}/blobs/{name}": (b"x" + data[1:] if broken else data) for name, data in blobs.items()}
    if not secret:
        upstream.files |= content
        return Image(manifest, digest, blobs)

    def guarded(body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            if handler.headers.get("Authorization") == "Bearer let-me-in":
                reply(handler, 200, body)
            else:
                challenge = f'Bearer realm="{upstream.url}/token",service="test",scope="repository:{repository}:pull"'
                reply(handler, 401, b"{}", WWW_Authenticate=challenge)

        return answer

    def token(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") == "Basic " + base64.b64encode(secret.encode()).decode():
            reply(handler, 200, b'{"token": "let-me-in"}')
        else:
            reply(handler, 403, b"who are you?")

    upstream.answers |= {path: guarded(body) for path, body in content.items()} | {"/token": token}
    return Image(manifest, digest, blobs)


LOCK = """\
schema: 1
arch: amd64
go: {{minimum: "1.26.0", toolchain: "1.26.8", modules: {{shared: test}}}}
debian: {{suite: trixie, rootfs: {{base: {{packages: [busybox-static]}}}}}}
components:
{components}
"""
