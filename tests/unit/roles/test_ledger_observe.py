"""observe.sh: one line in, one line out, in order, read-only."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/ledger/files/observe.sh"


def observe(*items: str, shell: tuple[str, ...] = ("sh",)) -> list[str]:
    asked = "\n".join(items) + "\n"
    done = subprocess.run([*shell, str(SCRIPT)], input=asked, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_files_folders_links_and_nothing(tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "with a blank"
    plain.write_text("x")
    plain.chmod(0o640)
    odd.write_bytes(b"")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "dangling").symlink_to("/no/where")
    (tmp_path / "dir").mkdir(mode=0o755)
    (tmp_path / "dir").chmod(0o750)
    owner = f"{os.getuid()}:{os.getgid()}"
    names = [f"file|{tmp_path}/{name}" for name in ("plain", "missing", "with a blank", "link", "dangling", "dir")]
    assert observe(*names) == [
        f"{names[0]}|{hashlib.sha256(b'x').hexdigest()} 640 {owner}",
        f"{names[1]}|absent",
        f"{names[2]}|{hashlib.sha256(b'').hexdigest()} {odd.stat().st_mode & 0o777:o} {owner}",
        f"{names[3]}|link -> plain",
        f"{names[4]}|link -> /no/where",
        f"{names[5]}|dir 750 {owner}",
    ]


def test_order_of_the_question_is_kept(tmp_path: Path) -> None:
    asked = ["sysctl|kernel.ostype", f"path|{tmp_path}", "package|no-such-package", "sysctl|no.such", "path|/no/where"]
    assert observe("chain|ip no-such TABLE") == ["chain|ip no-such TABLE|absent"]
    assert observe(*asked) == [
        "sysctl|kernel.ostype|Linux",
        f"path|{tmp_path}|present",
        "package|no-such-package|absent",
        "sysctl|no.such|absent",
        "path|/no/where|absent",
    ]


def test_a_kind_of_a_later_version_is_unknown_not_lost() -> None:
    assert observe("later|thing", "path|/") == ["later|thing|unknown", "path|/|present"]


def test_nothing_asked_nothing_said() -> None:
    assert observe() == []


def test_a_unit_that_does_not_exist() -> None:
    assert observe("unit|arena-no-such.service") == ["unit|arena-no-such.service|not-found inactive"]


@pytest.mark.skipif(not Path("/usr/bin/dpkg-query").exists(), reason="not a Debian system")
def test_an_installed_package_has_version_and_hold() -> None:
    version = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "dpkg"], capture_output=True, text=True, check=True
    ).stdout
    assert observe("package|dpkg") == [f"package|dpkg|{version} -"]


def test_an_image_is_there_with_all_its_blobs_or_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "docker/registry/v2"
    repository = root / "repositories/r.example.org/a/b"

    def put(path: Path, data: bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def blob(data: bytes) -> tuple[str, Path]:
        digest = hashlib.sha256(data).hexdigest()
        return digest, put(root / f"blobs/sha256/{digest[:2]}/{digest}/data", data)

    layer, layer_file = blob(b"layer")
    link = put(repository / f"_layers/sha256/{layer}/link", b"sha256:" + layer.encode())
    manifest, manifest_file = blob(b'{"layers": [{"digest": "sha256:%s"}]}' % layer.encode())
    revision = put(repository / f"_manifests/revisions/sha256/{manifest}/link", b"x")
    tag = put(repository / "_manifests/tags/1.0/current/link", b"sha256:" + manifest.encode())
    monkeypatch.setenv("REGISTRY_CONFIG", str(put(tmp_path / "config.yml", f"  rootdirectory: {tmp_path}\n".encode())))
    ask, other = "image|r.example.org/a/b:1.0", "image|r.example.org/a/b:2.0"
    assert observe(ask, other) == [f"{ask}|sha256:{manifest}", f"{other}|absent"]
    for lost in (layer_file, link, manifest_file, revision):
        kept = lost.read_bytes()
        lost.unlink()
        assert observe(ask) == [f"{ask}|incomplete"], lost
        lost.write_bytes(kept)
    tag.unlink()
    assert observe(ask) == [f"{ask}|absent"]


@pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="busybox is not installed")
def test_runs_in_another_shell(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    ask = (f"file|{tmp_path}/f", f"path|{tmp_path}", "sysctl|kernel.ostype")
    assert observe(*ask, shell=("busybox", "ash")) == observe(*ask)
