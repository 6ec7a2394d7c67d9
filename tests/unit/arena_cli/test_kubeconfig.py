"""Which cluster and as whom: files, their order, what they may hold, and what is said of bad ones."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from arena_cli.kube import config
from arena_install.errors import ArenaError, ConfigError


def write(path: Path, name: str = "a", **user: Any) -> Path:
    path.write_text(
        json.dumps(
            {
                "current-context": name,
                "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
                "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443"}}],
                "users": [{"name": name, "user": user}],
            }
        )
    )
    return path


def test_the_flag_before_the_variable_before_the_home(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / ".kube").mkdir()
    write(alone / ".kube/config", "home", token="t")
    assert config.load().server == "https://home.example:6443"
    monkeypatch.setenv("KUBECONFIG", str(write(alone / "v", "variable", token="t")))
    assert config.load().server == "https://variable.example:6443"
    assert config.load(str(write(alone / "f", "flag", token="t"))).namespace == "ns-flag"


def test_several_files(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = write(alone / "1", "one", token="first"), write(alone / "2", "two", token="second")
    monkeypatch.setenv("KUBECONFIG", f"{alone / 'missing'}:{one}:{two}")
    assert config.load().token == "first"
    one.write_text(json.dumps({"current-context": "two"}))
    assert config.load().token == "second"


def test_what_identifies(alone: Path) -> None:
    (alone / "token").write_text("from a file\n")
    (alone / "cert.pem").write_text("CERT")
    key = base64.b64encode(b"KEY").decode()
    found = config.load(
        str(write(alone / "k", tokenFile="token", **{"client-certificate": "cert.pem", "client-key-data": key}))
    )
    assert (found.token, found.cert, found.key) == ("from a file", "CERT", "KEY")
    assert "KEY" not in repr(found) and "from a file" not in repr(found)
    assert config.load(str(write(alone / "k", username="u", password="p"))).basic == base64.b64encode(b"u:p").decode()


def test_a_program_that_logs_in(alone: Path) -> None:
    said = {"kind": "ExecCredential", "status": {"token": "fresh"}}
    program = alone / "login"
    program.write_text(
        f"#!{sys.executable}\nimport os\nassert 'KUBERNETES_EXEC_INFO' in os.environ and os.environ['A'] == '1'\n"
        f"print({json.dumps(said)!r})\n"
    )
    program.chmod(0o755)
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "env": [{"name": "A", "value": "1"}]}
    assert config.load(str(write(alone / "k", exec=run))).token == "fresh"
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ArenaError, match="logs you in failed"):
        config.load(str(alone / "k"))
    with pytest.raises(ArenaError, match="logs you in is missing") as error:
        config.load(str(write(alone / "k", exec={"command": "no-such-login", "installHint": "get it there"})))
    assert error.value.fix == "get it there"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is not a kubeconfig"),
        ("- a", "it is no mapping"),
        ("{}", "has no current-context"),
        ('{"current-context": "x"}', "has no context 'x'"),
        ('{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "y"}}]}', "has no cluster 'y'"),
        (
            '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "y"}}],'
            ' "clusters": [{"name": "y", "cluster": {}}]}',
            "names no server",
        ),
        (
            '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "y"}}],'
            ' "clusters": [{"name": "y", "cluster": {"server": "https://h", "certificate-authority-data": "%"}}]}',
            "certificate-authority can't be read",
        ),
    ],
)
def test_a_bad_file_is_told(text: str, says: str, alone: Path) -> None:
    (alone / "k").write_text(text)
    with pytest.raises(ConfigError) as error:
        config.load(str(alone / "k"))
    assert says in str(error.value)


def test_no_file(alone: Path) -> None:
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        config.load()
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        config.load(str(alone / "missing"))


def test_on_a_control_plane_the_administrators_is_the_last(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(alone / "admin.conf", "admin", token="t")
    assert config.load().server == "https://admin.example:6443"
    monkeypatch.setenv("KUBECONFIG", str(alone / "missing"))
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        config.load()  # who names one means it
    monkeypatch.delenv("KUBECONFIG")
    (alone / ".kube").mkdir()
    write(alone / ".kube/config", "home", token="t")
    assert config.load().server == "https://home.example:6443"
