"""`plan` by the real entry point, in a process of its own; the host's answer is a recorded one, the rest is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Two hosts with nothing on them, as the probe would find them; then the command as users start it.
DRIVER = """
import json, sys
from pathlib import Path
from arena_install import probe
from arena_install.probe.facts import Facts
recorded = Facts.from_dict({"hosts": json.loads(Path(sys.argv.pop(1)).read_text())["facts"]})
probe.probe = lambda cluster, emit, timeout=30: recorded
from arena_install.cli.main import run
run()
"""
RECORDED = Path(__file__).parents[1] / "probe/cases/fine.json"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.ini"
    path.write_text(
        "[control_plane]\na ansible_host=10.0.0.1 ip=10.0.0.1\n\n[worker]\nb ansible_host=10.0.0.2 ip=10.0.0.2\n"
    )
    return path


def plan(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = inventory.parent
    return subprocess.run(
        [sys.executable, "-c", DRIVER, str(RECORDED), "plan", "-i", str(inventory), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env={
            **os.environ, "ARENA_INSTALL_STATE": str(folder / "state"), "ARENA_INSTALL_CACHE": str(folder / "cache"),
            "COLUMNS": "250",
        },
    )  # fmt: skip


def test_changes_are_exit_4_only_when_asked_for(inventory: Path) -> None:
    assert plan(inventory, "--detailed-exitcode").returncode == 4
    done = plan(inventory)
    assert done.returncode == 0, done.stderr
    assert "not installed by us yet" in done.stdout and "host_base" in done.stdout and "flannel" in done.stdout
    assert "Nothing was written" in done.stdout


def test_nothing_is_written_on_the_controller(inventory: Path) -> None:
    assert plan(inventory, "--json").returncode == 0
    assert [path.name for path in inventory.parent.iterdir()] == ["hosts.ini"]


def test_json_names_every_action_with_its_reasons(inventory: Path) -> None:
    done = plan(inventory, "--json", "--detailed-exitcode")
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert found["changes"] is True
    new = [{"why": "new", "item": "", "recorded": "", "found": ""}]
    assert {"role": "host_base", "host": "b", "reasons": new} in found["roles"]
    assert {"component": "flannel", "reasons": new} in found["components"]
    assert [row["host"] for row in found["roles"] if row["role"] == "control_plane"] == ["a"]


def test_explain_says_where_each_setting_came_from(inventory: Path) -> None:
    config = inventory.parent / "cluster.yaml"
    config.write_text("kubernetes:\n  pod_cidr: 10.77.0.0/16\n")
    done = plan(inventory, "-c", str(config), "--explain", "--profile", "full", "--json")
    assert done.returncode == 0, done.stderr
    settings = {row["key"]: row for row in json.loads(done.stdout)["settings"]}
    assert settings["kubernetes.pod_cidr"]["from"].endswith("cluster.yaml:2")
    assert settings["kubernetes.service_cidr"]["from"] == "default"
    assert settings["profile"] == {"key": "profile", "value": "full", "from": "command line"}
    told = plan(inventory, "-c", str(config), "--explain").stdout
    assert "cluster.yaml:2" in told and "host_base" in told


def test_what_can_not_be_meant_is_exit_2_with_its_line(inventory: Path) -> None:
    config = inventory.parent / "cluster.yaml"
    config.write_text("values:\n  flanel: {}\n")
    done = plan(inventory, "-c", str(config))
    assert done.returncode == 2
    assert "flanel" in done.stderr and "Traceback" not in done.stderr
