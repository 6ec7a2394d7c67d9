"""The drills of suite scheduling in a whole cluster: jobs of every kind get over what is done to it, and whoever ends a
drill in its midst finds every node taking pods again.

In the lab that ARENA_FAULTS_LAB names, or in a new one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena_install.paths import state_dir
from arena_install.verify.cordons import MARK
from arena_install.verify.kube import Kube
from lab_fixture import require_lab

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

DRILLS = ("drill-controllers", "kueue-restart", "drill-drain", "drill-restart")
CORDONED_WITHIN = 300.0  # seconds; the checks that a drill needs come first


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "arena_install", *arguments]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if name := os.environ.get("ARENA_FAULTS_LAB"):
        yield name
        return
    require_lab()
    name = f"t-rec-{uuid.uuid4().hex[:4]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_INSTALL_STATE", str(tmp_path_factory.mktemp("state")))
        try:
            made = command("up", "--name", name, "--profile", "full", "--verify", "none")
            subprocess.run(made, check=True, timeout=3600)
            yield name
        finally:
            subprocess.run(command("lab", "down", name, "--yes"), check=False, timeout=600)


@pytest.fixture
def kube(lab: str) -> Kube:
    return Kube(state_dir(lab) / "kubeconfig")


def cordoned(kube: Kube) -> list[str]:
    """Nodes that take no pods, or carry our mark."""
    nodes = kube.items("/api/v1/nodes")
    return [
        str(node["metadata"]["name"])
        for node in nodes
        if node["spec"].get("unschedulable") or MARK in (node["metadata"].get("annotations") or {})
    ]


def test_jobs_of_every_kind_get_over_it(lab: str, kube: Kube) -> None:
    chosen = [part for id in DRILLS for part in ("--check", f"scheduling.{id}")]
    done = subprocess.run(
        command("verify", "--name", lab, "--json", *chosen), capture_output=True, text=True, timeout=1800, check=False
    )
    tests = {test["name"]: test for test in json.loads(done.stdout)["results"]["tests"]}
    bad = {id: tests[f"scheduling.{id}"]["extra"] for id in DRILLS if tests[f"scheduling.{id}"]["status"] != "passed"}
    assert not bad and done.returncode == 0, bad or done.stdout[-3000:]
    assert cordoned(kube) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_drain_that_is_interrupted_leaves_no_node_cordoned(
    lab: str, kube: Kube, number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "verify.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            command("verify", "--name", lab, "--check", "scheduling.drill-drain"), stdout=out, stderr=out
        )
        try:
            until = time.monotonic() + CORDONED_WITHIN
            while not cordoned(kube):
                assert running.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.2)
            running.send_signal(number)
            assert running.wait(180) == 130, log.read_text()[-3000:]
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    assert cordoned(kube) == []
    assert not [one for one in kube.items("/api/v1/namespaces") if "arena-verify-" in one["metadata"]["name"]]
