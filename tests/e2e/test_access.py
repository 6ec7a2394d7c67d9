"""The wheel, away from the checkout, on hosts that are hard to reach: an ordinary user with a sudo password, SSH on
another port, everything but the first host behind a jump host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from arena_install import paths
from host_snapshot import differences, take

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


@dataclass(frozen=True)
class Place:
    """Two hosts with difficult access and things of their owner on them. home: of the user who runs the command."""

    state: Path
    home: Path
    before: dict[str, list[str]]  # container -> what it is
    beats: dict[str, subprocess.Popen[str]]  # container -> an SSH session that was opened then and says so each second

    @property
    def inventory(self) -> str:
        return str(self.state / "labs" / NAME / "hosts.ini")


@pytest.fixture(scope="module")
def place(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """State and home of its own; the lab is removed whatever happens."""
    folder, home = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("home")
    beats: dict[str, subprocess.Popen[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_INSTALL_CACHE", str(paths.cache_dir()))
        patch.setenv("ARENA_INSTALL_STATE", str(folder))
        patch.setenv("HOME", str(home))
        try:
            made = run(
                installed, "lab", "up", NAME, "--workers", "1", "--user", "op", "--sudo-password", "--port", "2222",
                "--jump",
            )  # fmt: skip
            assert made.returncode == 0, made.stdout + made.stderr
            before = {}
            for host, what in (("cp1", "config"), ("w1", "containerd")):
                container = f"{NAME}-{host}"
                script = (Path(__file__).parent / "site.sh").read_text()
                subprocess.run(
                    ["podman", "exec", "-i", container, "sh", "-s", what], input=script, text=True, check=True
                )
                before[container] = take(container)
                beats[container] = subprocess.Popen(
                    [str(installed), "lab", "shell", NAME, host, "--", "while sleep 1; do echo beat; done"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            yield Place(folder, home, before, beats)
        finally:
            for beat in beats.values():
                beat.kill()
                beat.wait()
            removed = run(installed, "lab", "down", NAME, "--yes")
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


def test_up_by_the_wheel_over_a_jump_host(installed: Path, place: Place) -> None:
    done = run(installed, "up", "-i", place.inventory, "--verify", "quick")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    again = run(installed, "plan", "-i", place.inventory, "--detailed-exitcode", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["changes"] is False


def test_no_secret_is_left_in_the_run_folders(installed: Path, place: Place) -> None:
    lab = place.state / "labs" / NAME
    words = re.compile(r"become_pass(?:word)?['\"]?\s*[:=]\s*(\S+)")
    secrets = {
        found.strip("'\"")
        for path in lab.rglob("*")
        if path.is_file()
        for found in words.findall(path.read_text(errors="ignore"))
    }
    assert secrets, "the lab's sudo password should be found in its own private files"
    for path in (place.state / "clusters").rglob("*"):
        if path.is_file():
            text = path.read_text(errors="ignore")
            assert not any(secret in text for secret in secrets), path


def test_doctor_names_a_wrong_sudo_password(installed: Path, place: Place, tmp_path: Path) -> None:
    """One of the two is wrong: that host is told by name, the other is looked at."""
    shutil.copytree(place.state / "labs" / NAME, tmp_path / "lab")
    (tmp_path / f"lab/host_vars/{NAME}-w1.yml").write_text("ansible_become_password: not-this-one\n")
    asked = run(installed, "doctor", "-i", str(tmp_path / "lab/hosts.ini"))
    assert asked.returncode == 3, asked.stdout + asked.stderr
    (cause,) = [line for line in asked.stdout.splitlines() if line.startswith("✗")]
    assert f"{NAME}-w1" in cause and "sudo password" in cause, asked.stdout
    assert "not-this-one" not in asked.stdout + asked.stderr


def test_doctor_names_a_changed_host_key(installed: Path, place: Place) -> None:
    key = "/etc/ssh/ssh_host_ed25519_key"
    keep = f"cp -a {key} {key}.kept && cp -a {key}.pub {key}.pub.kept && rm {key} {key}.pub"
    change = f"{keep} && ssh-keygen -q -t ed25519 -N '' -f {key} && systemctl reload ssh"
    restore = f"mv {key}.kept {key} && mv {key}.pub.kept {key}.pub && systemctl reload ssh"
    subprocess.run(["podman", "exec", f"{NAME}-w1", "sh", "-c", change], check=True)
    try:
        asked = run(installed, "doctor", "-i", place.inventory)
    finally:
        subprocess.run(["podman", "exec", f"{NAME}-w1", "sh", "-c", restore], check=True)
    assert asked.returncode == 3, asked.stdout + asked.stderr
    (cause,) = [line for line in asked.stdout.splitlines() if line.startswith("✗")]
    assert f"{NAME}-w1" in cause and "host key" in cause, asked.stdout
    assert run(installed, "doctor", "-i", place.inventory).returncode == 0


def test_down_leaves_hosts_as_their_owner_had_them(installed: Path, place: Place) -> None:
    """Files, packages, holds, units, users, settings, packet filter, links and mounts; an SSH session that was open
    all the time is open still. Here nothing is left either."""
    done = run(installed, "down", "-i", place.inventory, "--yes")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    after = {container: take(container) for container in place.before}
    assert {container: differences(place.before[container], lines) for container, lines in after.items()} == {
        container: [] for container in place.before
    }
    assert [container for container, beat in place.beats.items() if beat.poll() is not None] == []
    assert [path.name for path in place.state.iterdir()] == ["labs"]
    assert list(place.home.iterdir()) == []
    refused = run(installed, "down", "-i", place.inventory, "--yes")
    assert refused.returncode == 1 and "no host has a ledger" in refused.stderr
