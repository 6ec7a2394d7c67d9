"""What Kubernetes' last word about a command means."""

from __future__ import annotations

import json

import pytest

from arena_cli.kube.shell import status
from arena_install.errors import StepError


def test_exit_statuses() -> None:
    assert status(b'{"status": "Success"}') == 0
    failed = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}
    assert status(json.dumps(failed).encode()) == 3
    with pytest.raises(StepError, match="could not be run"):
        status(b'{"status": "Failure", "message": "exec: no such file"}')
