"""The drills of suite scheduling in a whole cluster: jobs of every kind get over what is done to it, and whoever ends a
drill in its midst finds every node taking pods again.

In the lab that ARENA_E2E_LAB names, or in a new one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from arena_user import Site

from arena_install.verify.cordons import MARK
from arena_install.verify.kube import Kube

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

DRILLS = ("drill-controllers", "kueue-restart", "drill-drain", "drill-restart")
CORDONED_WITHIN = 300.0  # seconds; the checks that a drill needs come first


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "arena_install", *arguments]


@pytest.fixture
def kube(site: Site) -> Kube:
    return Kube(site.kubeconfig)


def cordoned(kube: Kube) -> list[str]:
    """Nodes that take no pods, or carry our mark."""
    nodes = kube.items("/api/v1/nodes")
    return [
        str(node["metadata"]["name"])
        for node in nodes
        if node["spec"].get("unschedulable") or MARK in (node["metadata"].get("annotations") or {})
    ]


def test_jobs_of_every_kind_get_over_it(site: Site, kube: Kube) -> None:
    chosen = [part for id in DRILLS for part in ("--check", f"scheduling.{id}")]
    run = command("verify", "--name", site.name, "--json", *chosen)
    done = subprocess.run(run, capture_output=True, text=True, timeout=1800, check=False)
    tests = {test["name"]: test for test in json.loads(done.stdout)["results"]["tests"]}
    bad = {id: tests[f"scheduling.{id}"]["extra"] for id in DRILLS if tests[f"scheduling.{id}"]["status"] != "passed"}
    assert not bad and done.returncode == 0, bad or done.stdout[-3000:]
    assert cordoned(kube) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_drain_that_is_interrupted_leaves_no_node_cordoned(
    site: Site, kube: Kube, number: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "verify.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            command("verify", "--name", site.name, "--check", "scheduling.drill-drain"), stdout=out, stderr=out
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
