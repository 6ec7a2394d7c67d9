"""Labs for tests: `lab_hosts` makes container hosts with a name of their own and always removes them.

    def test_something(lab_hosts):
        lab = lab_hosts("registry", workers=1)
        assert run_on(lab, "w1", "systemctl is-active docker-registry").returncode == 0

State goes to a temporary folder, the host image and artifacts come from this machine's cache. A lab lives as long as
the module's tests. Without root or podman the tests that ask for it are skipped with that reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from arena_install import lab as labs
from arena_install.errors import ArenaError
from arena_install.events import ignore
from arena_install.inventory.config import Lab
from arena_install.lab import Access, LabInfo, podman

REPOSITORY = Path(__file__).resolve().parents[1]


class MakeLab(Protocol):
    def __call__(
        self, topic: str = "hosts", *, control_planes: int = 1, workers: int = 0, access: Access | None = None
    ) -> LabInfo: ...


@pytest.fixture(scope="module")
def lab_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the module's own, as ARENA_INSTALL_STATE."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARENA_INSTALL_STATE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def lab_hosts(lab_state: Path) -> Iterator[MakeLab]:
    """Factory of labs named t-TOPIC-RANDOM; each is removed when the module's tests are done, whatever happened."""
    require_lab()
    names: list[str] = []

    def make(
        topic: str = "hosts", *, control_planes: int = 1, workers: int = 0, access: Access | None = None
    ) -> LabInfo:
        name = f"t-{topic}-{uuid.uuid4().hex[:4]}"
        names.append(name)
        return labs.up(name, Lab(control_planes=control_planes, workers=workers), ignore, access=access)

    try:
        yield make
    finally:
        for name in names:
            labs.down(name, ignore)


def require_lab() -> None:
    """Skip where no lab can be made; ARENA_TEST_LAB=required (as in CI) makes that a failure instead."""
    try:
        podman.require()
    except ArenaError as error:
        if os.environ.get("ARENA_TEST_LAB") == "required":
            raise
        pytest.skip(str(error))


def run_on(lab: LabInfo, host: str, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """A shell command on a host ("w1" or its whole name), over SSH as a user would."""
    argv = labs.shell_command(lab.name, host, (command,))
    return subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
    )


def play(
    lab: LabInfo,
    plays: Sequence[Mapping[str, Any]],
    *,
    extra: Mapping[str, Any] | None = None,
    timeout: float = 900,
) -> dict[str, dict[str, int]]:
    """Run plays (as in a playbook) on the lab with this repository's roles; each host's recap: ok, changed, failed...

    Fails the test, with Ansible's output, when a task fails.
    """
    folder = lab.folder
    (folder / "play.json").write_text(json.dumps(list(plays)))  # JSON is YAML
    (folder / "extra.json").write_text(json.dumps(dict(extra or {})))
    environment = {
        **os.environ, "ANSIBLE_ROLES_PATH": str(REPOSITORY / "roles"), "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1", "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"), "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(lab.inventory), "--diff",
         "-e", f"@{folder / 'extra.json'}", str(folder / "play.json")],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, env=environment, check=False,
        cwd=REPOSITORY,
    )
    if done.returncode != 0:
        pytest.fail(f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}", pytrace=False)
    return recap(done.stdout)


def recap(output: str) -> dict[str, dict[str, int]]:
    """Host -> counter -> number, out of the last lines of ansible-playbook."""
    rows = re.findall(r"^(\S+)\s+: (ok=.*)$", output, re.MULTILINE)
    return {host: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", counters)} for host, counters in rows}
