"""What the registry role does, against a real docker-registry where one is installed: ask, ship, link, tag, again."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]
ROLE = Path(__file__).parents[3] / "roles/registry"
CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{net: unix, addr: {socket}}}
"""


def ship() -> Any:
    spec = importlib.util.spec_from_file_location("registry_ship", ROLE / "action_plugins/registry_ship.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """Socket of a registry with empty storage."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    socket = tmp_path / "s"
    (tmp_path / "config.yml").write_text(CONFIG.format(root=tmp_path / "data", socket=socket))
    process = subprocess.Popen([program, "serve", str(tmp_path / "config.yml")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield socket
    process.terminate()
    process.wait(timeout=20)


def image(reference: str, *layers: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}, "for": reference}).encode()
    rows = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha(data), "size": len(data)}
        for data in layers
    ]
    about = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(config), "size": len(config)}
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "config": about, "layers": rows}).encode()
    blobs = {sha(data): data for data in (config, *layers, manifest)}
    row = {
        "manifest": sha(manifest),
        "media_type": media,
        "blobs": [{"digest": sha(data)} for data in (config, *layers)],
    }
    return row, blobs


def entries(images: dict[str, Any], files: dict[str, Any], blobs: dict[str, bytes]) -> list[dict[str, Any]]:
    module = ship()
    return [*module.image_entries(images, blobs.__getitem__), *module.file_entries(files)]


def test_only_what_is_missing_is_asked_for_and_a_second_time_nothing(
    run_module: RunModule, store: Path, tmp_path: Path
) -> None:
    one, blobs = image("a", b"shared layer", b"own layer")
    two, more = image("b", b"shared layer")
    blobs.update(more)
    program = b"#!/bin/sh\n"
    blobs |= {sha(program): program, sha(b"{}"): b"{}"}
    files = {"tool": {"version": "v1+x", "sha256": sha(program)[7:], "size": len(program)}}
    want = entries({"registry.example/a:1": one, "registry.example/b/c:2": two}, files, blobs)
    common = {"socket": str(store), "unit": "", "want": want}

    asked = run_module("registry_store", state="missing", **common)
    manifests = {one["manifest"], two["manifest"]}
    assert set(asked["missing"]) == set(blobs) - manifests
    assert ["arena-install/files/tool", "v1_x"] in asked["due"]

    staged = tmp_path / "staged"
    staged.write_bytes(b"shared layer")
    inline = {
        digest: base64.b64encode(data).decode()
        for digest, data in blobs.items()
        if digest not in manifests and data != b"shared layer"
    }
    pushed = run_module(
        "registry_store", state="push", staged={sha(b"shared layer"): str(staged)}, inline=inline, last=True, **common
    )
    assert pushed.get("pushed") == [
        "registry.example/a:1",
        "registry.example/b/c:2",
        "arena-install/files/tool:v1_x",
    ], pushed
    assert not staged.exists()

    again = run_module("registry_store", state="missing", **common)
    assert (again["due"], again["missing"]) == ([], [])

    shared = sha(b"shared layer")[7:]
    (tmp_path / f"data/docker/registry/v2/blobs/sha256/{shared[:2]}/{shared}/data").unlink()
    lost = run_module("registry_store", state="missing", **common)
    assert lost["missing"] == ["sha256:" + shared]
    assert lost["due"] == [["registry.example/a", "1"], ["registry.example/b/c", "2"]]


def test_a_broken_run_goes_on_where_it_stopped(run_module: RunModule, store: Path, tmp_path: Path) -> None:
    row, blobs = image("a", b"first", b"second")
    common = {"socket": str(store), "unit": "", "want": entries({"r.example/a:1": row}, {}, blobs)}
    staged = tmp_path / "staged"
    staged.write_bytes(b"first")
    run_module("registry_store", state="push", staged={sha(b"first"): str(staged)}, **common)
    asked = run_module("registry_store", state="missing", **common)
    assert sha(b"first") not in asked["missing"] and sha(b"second") in asked["missing"]


def test_bytes_that_are_not_their_digest_are_refused(run_module: RunModule, store: Path, tmp_path: Path) -> None:
    row, blobs = image("a", b"layer")
    want = entries({"r.example/a:1": row}, {}, blobs)
    staged = tmp_path / "staged"
    staged.write_bytes(b"other")
    answer = run_module(
        "registry_store",
        state="push",
        socket=str(store),
        unit="",
        want=want,
        staged={sha(b"layer"): str(staged)},
        last=True,
    )
    assert answer["failed"] is True
    assert "DIGEST_INVALID" in answer["msg"]


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("registry.k8s.io/pause:3.10.2", "registry.k8s.io/pause", "3.10.2"),
        ("registry.k8s.io:5000/a/b", "registry.k8s.io:5000/a/b", ""),
        ("r.example/a@sha256:" + "0" * 64, "r.example/a", ""),
        ("r.example/a:1@sha256:" + "0" * 64, "r.example/a", "1"),
    ],
)
def test_references_are_split_into_repository_and_tag(reference: str, repository: str, tag: str) -> None:
    row, blobs = image("x")
    (entry,) = ship().image_entries({reference: row}, blobs.__getitem__)
    assert (entry["repository"], entry["tag"]) == (repository, tag)


class Tls:
    def __init__(self, run: RunModule, folder: Path) -> None:
        self._run, self.folder = run, folder / "tls"

    def __call__(self, *addresses: str) -> list[str]:
        answer = self._run(
            "registry_tls",
            folder=str(self.folder),
            addresses=list(addresses),
            names=["Host-1"],
            common_name="c",
            group="root",
        )
        assert "failed" not in answer, answer
        made: list[str] = answer["made"]
        return made


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_certificates_are_made_once_and_again_only_for_a_new_address(run_module: RunModule, tmp_path: Path) -> None:
    tls = Tls(run_module, tmp_path)
    assert tls("192.0.2.1", "127.0.0.1") == ["ca.crt", "tls.crt"]
    authority = (tls.folder / "ca.crt").read_text()
    assert (tls.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (tls.folder / "tls.key").stat().st_mode & 0o777 == 0o640
    assert tls("127.0.0.1", "192.0.2.1") == []
    assert tls("192.0.2.2", "127.0.0.1") == ["tls.crt"]
    assert (tls.folder / "ca.crt").read_text() == authority
    (tls.folder / "ca.crt").write_text("broken")
    assert tls("192.0.2.2", "127.0.0.1") == ["ca.crt", "tls.crt"]  # of the same key
    assert (tls.folder / "ca.crt").read_text() != authority
    shutil.copy(tls.folder / "ca.key", tls.folder / "tls.key")  # a key that is not the certificate's
    assert tls("192.0.2.2", "127.0.0.1") == ["tls.crt"]
