"""What somebody does who was given a kubeconfig, on a whole cluster: submits, looks, waits, is refused, deletes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IMAGE = "docker.io/library/busybox:1.37.0"  # of the lock: nodes have it from the cluster's registry
#: Ways out of the own namespace and quota; all refused.
FORBIDDEN = (
    "get pods -n kube-system", "list pods -A", "list secrets", "get secrets -n kube-system", "list namespaces",
    "create pods", "delete resourcequotas", "patch namespaces", "create serviceaccounts --subresource=token",
    "create clusterrolebindings", "create configmaps -n default",
)  # fmt: skip
ALLOWED = (
    "create pytorchjobs.kubeflow.org",
    "get pods --subresource=log",
    "create pods --subresource=exec",
    "list nodes",
)


@dataclass
class Person:
    """kubeconfig: as `user add` wrote it. home: where arena finds no configuration of anybody's."""

    kubeconfig: Path
    home: Path
    helm: Path

    def arena(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home),
                       "ARENA_HELM": str(self.helm)}  # fmt: skip
        command = [sys.executable, "-m", "arena_cli", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)

    def done(self, *words: str) -> str:
        found = self.arena(*words)
        assert found.returncode == 0, f"{words}\n{found.stdout}{found.stderr}"
        return found.stdout

    def may(self, question: str) -> bool:
        tool = str(Path(sys.executable).parent / "kubectl")
        command = [tool, "--kubeconfig", str(self.kubeconfig), "auth", "can-i", *question.split()]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

    def status(self, job: str) -> str:
        return str(json.loads(self.done("get", job, "-o", "json"))["status"])


def train(person: Person, queue: str) -> None:
    """Two pods of one GPU each, through the queue if there is one; and what is larger than the quota of two."""
    queued = ("--kueue-queue", queue) if queue else ()
    words = ("--image", IMAGE, "--gpus", "1", *queued)
    person.done("submit", "pytorchjob", "--name", "first", "--workers", "2", *words, "echo rank $RANK of $WORLD_SIZE")
    until(lambda: person.status("first") == "SUCCEEDED", "the job to succeed", lambda: person.done("get", "first"))
    assert "rank 0 of 2" in person.done("logs", "first")
    larger = person.arena("submit", "pytorchjob", "--name", "larger", "--workers", "3", *words, "true")
    assert larger.returncode == 2 and "ask for fewer" in larger.stderr, larger.stderr
    abroad = person.arena("submit", "pytorchjob", "--name", "abroad", "-n", "default", *words, "true")
    assert abroad.returncode == 1, abroad.stderr
    person.done("submit", "pytorchjob", "--name", "long", *words, "sleep 600")
    until(lambda: person.status("long") == "RUNNING", "the job to run", lambda: person.done("get", "long"))
    assert person.done("attach", "long", "--", "echo", "here").strip() == "here"
    person.done("top", "node"), person.done("delete", "first")


def until(true: Callable[[], bool], what: str, page: Callable[[], str], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{page()}"
        time.sleep(1)
