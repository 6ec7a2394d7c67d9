"""Both playbooks are read by Ansible as a user would run them: from the repository, without any configuration.
Every role has its place in them, and tests of what it leaves on a host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
HOSTS = "[control_plane]\na ip=192.0.2.1\n[worker]\nb ip=192.0.2.2\n[gpu]\nb\n"


@pytest.mark.parametrize("playbook", ["site", "reset"])
def test_syntax(playbook: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(HOSTS)
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "--syntax-check",
        "-i",
        str(tmp_path / "hosts.ini"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [*command, f"playbooks/{playbook}.yml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plays_of_a_role_go_by_its_name() -> None:
    plays = yaml.safe_load((REPOSITORY / "playbooks/site.yml").read_text())
    tags = {play["tags"]: play["roles"] for play in plays if play["tags"] != "always"}
    assert tags == {path.parent.name: [path.parent.name] for path in REPOSITORY.glob("roles/*/component.yaml")}


def test_each_role_has_tests_on_hosts() -> None:
    tests = REPOSITORY / "tests/roles/molecule/default/tests"
    roles = {path.name for path in (REPOSITORY / "roles").iterdir()}
    assert {path.stem.removeprefix("test_") for path in tests.glob("test_*.py")} == roles
