"""The wheel, away from the checkout, on hosts that are hard to reach: an ordinary user with a sudo password, SSH on
another port, everything but the first host behind a jump host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = f"t-acc-{uuid.uuid4().hex[:4]}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`arena-install` from the built wheel in an empty environment; returns the command's path."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv") or str(REPOSITORY / ".tools/bin/uv")
    for command in (
        [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(REPOSITORY)],
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
    ):
        subprocess.run(command, check=True, cwd=folder)
    wheel = next(folder.glob("*.whl"))
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(folder / "venv/bin/python"), str(wheel)],
        check=True,
        cwd=folder,
    )
    return folder / "venv/bin/arena-install"


@pytest.fixture(scope="module")
def place(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab of two hosts with difficult access, and state of its own; removed whatever happens."""
    folder = tmp_path_factory.mktemp("state")
    os.environ["ARENA_INSTALL_STATE"] = str(folder)
    try:
        made = run(
            installed,
            "lab",
            "up",
            NAME,
            "--workers",
            "1",
            "--user",
            "op",
            "--sudo-password",
            "--port",
            "2222",
            "--jump",
        )
        assert made.returncode == 0, made.stdout + made.stderr
        yield folder
    finally:
        removed = run(installed, "lab", "down", NAME, "--yes")
        del os.environ["ARENA_INSTALL_STATE"]
        assert removed.returncode == 0, removed.stdout + removed.stderr


def run(command: Path, *arguments: str, timeout: float = 3000) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(command), *arguments],
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
        cwd="/",
        env=environment,
    )


def test_up_by_the_wheel_over_a_jump_host(installed: Path, place: Path) -> None:
    inventory = place / "labs" / NAME / "hosts.ini"
    done = run(installed, "up", "-i", str(inventory), "--verify", "quick")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    again = run(installed, "plan", "-i", str(inventory), "--detailed-exitcode", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["changes"] is False


def test_no_secret_is_left_in_the_run_folders(installed: Path, place: Path) -> None:
    lab = place / "labs" / NAME
    secrets = {
        line.split("=", 1)[1].strip().strip("'\"")
        for path in lab.rglob("*")
        if path.is_file()
        for line in path.read_text(errors="ignore").splitlines()
        if "become_pass" in line and "=" in line
    } | {
        line.split(":", 1)[1].strip().strip("'\"")
        for path in lab.rglob("*")
        if path.is_file()
        for line in path.read_text(errors="ignore").splitlines()
        if "become_pass" in line and ":" in line and "=" not in line
    }
    assert secrets, "the lab's sudo password should be found in its own private files"
    for path in (place / "clusters").rglob("*"):
        if path.is_file():
            text = path.read_text(errors="ignore")
            assert not any(secret in text for secret in secrets), path


def test_down_leaves_the_hosts_and_only_them(installed: Path, place: Path) -> None:
    inventory = place / "labs" / NAME / "hosts.ini"
    done = run(installed, "down", "-i", str(inventory), "--yes")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    for host in ("cp1", "w1"):
        left = subprocess.run(
            ["podman", "exec", f"{NAME}-{host}", "sh", "-c", "ls -A /usr/local/bin /etc; ls -A /var/lib | grep arena"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "hostname" in left.stdout, left.stderr
        for word in ("kubelet", "kubeadm", "kubectl", "kubernetes", "containerd", "cni", "arena-install"):
            assert word not in left.stdout.split(), f"{host}: {left.stdout}"
    refused = run(installed, "down", "-i", str(inventory), "--yes")
    assert refused.returncode == 1 and "no host has a ledger" in refused.stderr
