"""Runs a role's module as Ansible would on the target: the real file, arguments as JSON, the answer as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROLES = Path(__file__).parents[3] / "roles"
_RUN = """
import json, runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_path(sys.argv[1], run_name="__main__")
"""

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module() -> RunModule:
    def run(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        (path,) = ROLES.glob(f"*/library/{name}.py")
        given = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}}
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(path)], input=json.dumps(given).encode(), capture_output=True, check=False
        )
        assert done.stdout, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run
