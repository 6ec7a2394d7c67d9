"""Verbs that only look: all that they send to a host is recorded by that host's sshd, all that they ask of the API by a
server that answers as it does. One script a host, the same for every verb, and nothing but GET.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "probe"))

from probe_servers import Server
from test_plan import DRIVER, RECORDED

from arena_install.probe.runner import script

#: Keeps each command that comes in, and what is written to it, before the command gets both.
RECORDER = """#!/bin/sh
here=$(mktemp -d {folder}/XXXXXX)
printf '%s' "$SSH_ORIGINAL_COMMAND" >"$here/command"
tee "$here/input" | sh -c "$SSH_ORIGINAL_COMMAND"
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A host, and the folder of what was sent to it."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("no /usr/sbin/sshd: install openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks its unprivileged half in
    folder = tmp_path / "sent"
    folder.mkdir()
    recorder = tmp_path / "recorder"
    recorder.write_text(RECORDER.format(folder=folder))
    recorder.chmod(0o755)
    server = Server(tmp_path / "sshd", (f"ForceCommand {recorder}",))
    server.start()
    yield server, folder
    server.stop()


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """URL of an API that has nothing in it, and what it was asked: (method, path)."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path))
            kinds = (("nodes", "Node"), ("secrets", "Secret"), ("configmaps", "ConfigMap"), ("pods", "Pod"))
            rows = [{"name": plural, "kind": kind, "namespaced": kind != "Node"} for plural, kind in kinds]
            content = json.dumps({"resources": rows, "items": [], "gitVersion": "v1.36.3"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def arena(folder: Path, start: list[str], verb: str, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *start, verb, "-i", str(folder / "hosts.ini"), "--json", *options],
        capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "ARENA_INSTALL_STATE": str(folder / "state"), "ARENA_INSTALL_CACHE": str(folder / "cache")},
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "a fault of arena-install" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("verb", ["plan", "status", "doctor"])
def test_a_host_is_sent_one_script(verb: str, host: tuple[Server, Path], tmp_path: Path) -> None:
    server, sent = host
    variables = " ".join(f"{key}='{value}'" for key, value in server.variables.items())
    hosts = f"[control_plane]\nh1 ansible_host=127.0.0.1 ip=192.0.2.11 {variables}\n"
    (tmp_path / "hosts.ini").write_text(hosts)
    done = arena(tmp_path, ["-m", "arena_install"], verb)
    (one,) = sent.iterdir()  # one command, nothing before or after it
    nonce = re.search(r"@ready (\w+)", (one / "command").read_text())
    assert nonce, done.stderr
    assert (one / "input").read_text().strip() == script().replace("@NONCE@", nonce[1]).strip()
    assert not (tmp_path / "state").exists() and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("verb", ["plan", "status", "doctor", "verify"])
def test_the_api_is_only_read(verb: str, api: tuple[str, list[tuple[str, str]]], tmp_path: Path) -> None:
    url, asked = api
    (tmp_path / "hosts.ini").write_text(
        "[control_plane]\na ansible_host=10.0.0.1 ip=10.0.0.1\n\n[worker]\nb ansible_host=10.0.0.2 ip=10.0.0.2\n"
    )
    state = tmp_path / "state/clusters/arena"
    state.mkdir(parents=True)
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c"} | {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (state / "kubeconfig").write_text(yaml.safe_dump(config))
    (state / "resolved.lock.json").write_text('{"schema": 1, "arch": "amd64", "files": {}, "images": {}, "charts": {}}')
    before = files(tmp_path / "state")
    arena(tmp_path, ["-c", DRIVER, str(RECORDED)], verb, *(["--read-only"] if verb == "verify" else []))
    assert asked and {method for method, _ in asked} <= {"GET", "HEAD"}
    after = files(tmp_path / "state")
    assert {path: after[path] for path in before} == before
    new = [path for path in after if path not in before]
    assert all(path.startswith("clusters/arena/runs/") for path in new), new
    assert bool(new) == (verb == "verify"), "its report is all that a run may leave"
    assert not (tmp_path / "cache").exists()
