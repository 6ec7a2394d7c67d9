"""Two commands, one cluster: what upstream's arena submits or serves is listed, shown and deleted by ours, the other
way round too, and nothing stays behind.

On a real API server without kubelets: nothing runs, and all that either makes is there to be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/bench"), str(ROOT / "tests/e2e")]

import objects  # noqa: E402
from peer import charts, upstream  # noqa: E402

from apiserver_fixture import ControlPlane, apply_crds, artifacts_here  # noqa: E402
from arena_install.stack.api import Api  # noqa: E402

PROGRAMS = Path(sys.executable).parent
_ONE = ("--image", "train:1", "--workers", "2", "--gpus", "1")
#: Type -> flags of both.
JOBS = {
    "pytorchjob": _ONE,
    "tfjob": _ONE,
    "volcanojob": ("--task-images", "train:1", "--task-replicas", "2"),
}
_MODEL = ("--data", "models:/models", "--model-path", "/models/m")
#: Type -> flags of both, command.
SERVED = {
    "custom": (("--image", "serve:1", "--port", "8000"), "python serve.py"),
    "tensorflow": (("--image", "serve:1", "--model-name", "m", *_MODEL), ""),
}


@dataclass(frozen=True)
class Side:
    """One of the two commands."""

    program: Path
    env: dict[str, str]

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{self.program.name} {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.env, timeout=120)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    resolved = artifacts_here(["helm", "training-operator-crds", "volcano-crds"])
    assert resolved, "no artifacts on this machine: arena-install up --profile full makes them"
    with ControlPlane() as plane:
        api = Api(plane.kubeconfig)
        apply_crds(api, resolved, "training-operator-crds", "volcano-crds")
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        meta = {"name": "models", "namespace": "default"}
        api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim})
        api.close()
        yield plane


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where upstream's finds what it runs and renders."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bin").mkdir()
    (folder / "bin/arena-kubectl").symlink_to(PROGRAMS / "kubectl")
    (folder / "charts").symlink_to(charts())
    return folder


@pytest.fixture(scope="module")
def ours(plane: ControlPlane, home: Path) -> Side:
    resolved = artifacts_here(["helm"])
    assert resolved
    helm = str(resolved.program("helm"))
    return Side(PROGRAMS / "arena", {**_env(plane, home), "ARENA_HELM": helm})


@pytest.fixture(scope="module")
def theirs(plane: ControlPlane, home: Path) -> Side:
    return Side(upstream(), _env(plane, home))


def _env(plane: ControlPlane, home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "ARENA_"))}
    path = f"{home / 'bin'}:{PROGRAMS}:{os.environ['PATH']}"
    return {**kept, "HOME": str(home), "KUBECONFIG": str(plane.kubeconfig), "PATH": path}


@pytest.fixture(scope="module")
def there(plane: ControlPlane) -> Callable[[], set[str]]:
    def kubectl(*words: str) -> str:
        command = [str(PROGRAMS / "kubectl"), "--kubeconfig", str(plane.kubeconfig), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return partial(objects.take, kubectl)


def settles(there: Callable[[], set[str]], before: set[str]) -> None:
    """Owned objects go a moment after their owners."""
    deadline = time.monotonic() + 60
    while there() != before:
        assert time.monotonic() < deadline, sorted(there() ^ before)
        time.sleep(0.5)


@pytest.mark.parametrize("type_", JOBS)
def test_ours_sees_and_deletes_their_job(ours: Side, theirs: Side, there: Callable[[], set[str]], type_: str) -> None:
    before = there()
    theirs("submit", type_, "--name", "theirs", *JOBS[type_], "python train.py")
    rows = json.loads(ours("list", "-o", "json"))
    assert [(row["name"], row["trainer"]) for row in rows] == [("theirs", type_)]
    shown = json.loads(ours("get", "theirs", "-o", "json"))
    assert shown["name"] == "theirs" and shown["trainer"] == type_
    ours("delete", "theirs")
    settles(there, before)


@pytest.mark.parametrize("type_", JOBS)
def test_theirs_sees_and_deletes_our_job(ours: Side, theirs: Side, there: Callable[[], set[str]], type_: str) -> None:
    before = there()
    ours("submit", type_, "--name", "ours", *JOBS[type_], "python train.py")
    rows = json.loads(theirs("list", "-o", "json"))
    assert [(row["name"], row["trainer"]) for row in rows] == [("ours", type_)]
    assert "ours" in theirs("get", "ours", "--type", type_)
    theirs("delete", "ours", "--type", type_)
    settles(there, before)


@pytest.mark.parametrize("type_", SERVED)
def test_ours_sees_and_deletes_what_theirs_serves(
    ours: Side, theirs: Side, there: Callable[[], set[str]], type_: str
) -> None:
    before, (flags, command) = there(), SERVED[type_]
    theirs("serve", type_, "--name", "theirs", "--version", "v1", *flags, *filter(None, [command]))
    assert [row["name"] for row in json.loads(ours("serve", "list", "-o", "json"))] == ["theirs"]
    assert json.loads(ours("serve", "get", "theirs", "-o", "json"))["version"] == "v1"
    ours("serve", "delete", "theirs")
    settles(there, before)


@pytest.mark.parametrize("type_", SERVED)
def test_theirs_sees_and_deletes_what_ours_serves(
    ours: Side, theirs: Side, there: Callable[[], set[str]], type_: str
) -> None:
    before, (flags, command) = there(), SERVED[type_]
    ours("serve", type_, "--name", "ours", "--version", "v1", *flags, *filter(None, [command]))
    assert [row["name"] for row in json.loads(theirs("serve", "list", "-o", "json"))] == ["ours"]
    assert "ours" in theirs("serve", "get", "ours")
    theirs("serve", "delete", "ours")
    settles(there, before)
