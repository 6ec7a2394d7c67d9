"""The command line by its real entry point: help, schema, exit codes, and no traceback whatever is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VERBS = ("up", "plan", "verify", "status", "doctor", "down", "components", "schema", "lab", "user")


def arena(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "arena_install", *arguments],
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_names_every_verb() -> None:
    done = arena("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb: str) -> None:
    done = arena(verb, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout


def test_version() -> None:
    from arena_install import __version__

    assert arena("--version").stdout.strip() == f"arena-install {__version__}"


def test_schema_describes_commands_and_config() -> None:
    commands = json.loads(arena("schema").stdout)
    assert set(commands["commands"]) == set(VERBS)
    assert set(commands["exit_codes"]) == {"0", "1", "2", "3", "4", "5", "130"}
    config = json.loads(arena("schema", "config").stdout)
    assert "kubernetes" in config["properties"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("up", "--no-such-option"),
        ("up", "--verify", "sometimes"),
        ("schema", "poem"),
        ("plan", "-i", "/nonexistent/hosts.ini"),
        ("plan", "--name", "no-such-lab"),
        ("up", "-i", "/nonexistent/hosts.ini"),
        ("down", "-i", "/nonexistent/hosts.ini", "--yes"),
        ("plan", "--profile", "huge"),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_bad_usage_is_exit_2_and_no_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = arena(*arguments, ARENA_INSTALL_STATE=str(tmp_path))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.strip()


def test_unreachable_host_is_exit_3_and_says_which(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[control_plane]\ncp1 ansible_host=127.0.0.1 ansible_port=1 ip=10.9.8.7\n")
    done = arena("plan", "-i", str(inventory), ARENA_INSTALL_STATE=str(tmp_path / "state"))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "cp1" in done.stderr and "refused" in done.stderr and "fix:" in done.stderr


def test_a_fault_of_ours_is_kept_in_a_file_not_shown(tmp_path: Path) -> None:
    code = (
        "import arena_install.cli.plan as plan, arena_install.cli.main as main, sys\n"
        "import arena_install.pipeline.setting as setting\n"
        "def broken(*a, **k): raise RuntimeError('boom')\n"
        "setting.prepare = broken\n"
        "sys.argv = ['arena-install', 'plan']\n"
        "main.run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "ARENA_INSTALL_STATE": str(tmp_path)},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr and "boom" in done.stderr
    kept = next((tmp_path / "crashes").glob("*.txt"))
    assert "Traceback" in kept.read_text() and str(kept) in done.stderr


def test_help_does_not_import_the_machinery() -> None:
    code = (
        "import sys\nfrom arena_install.cli import main\n"
        "heavy = {'kubernetes', 'pyhelm3', 'pyinfra', 'ansible', 'gevent', 'pydantic', 'paramiko'} & set(sys.modules)\n"
        "print(sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"
