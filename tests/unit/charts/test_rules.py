"""Prometheus' rules and alerts by Prometheus' own test tool: what goes wrong raises the alert that says so, and what is
well raises none. The cases are in rules/*.yaml, as `promtool test rules` reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver_fixture import artifacts_here
from arena_install.verify import xids
from arena_install.verify.checks.observability import shipped_rules
from arena_install.verify.prometheus import ARENA

RULES = Path(__file__).parents[3] / "charts/prometheus/files/rules"
CASES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


@pytest.fixture(scope="module")
def promtool() -> str:
    """The one of this machine's artifacts, else any on PATH. ARENA_TEST_PROMTOOL=required: one must be there."""
    resolved = artifacts_here(["promtool"])
    found = str(resolved.program("promtool")) if resolved else shutil.which("promtool")
    if not found:
        assert os.environ.get("ARENA_TEST_PROMTOOL") != "required", "there is no promtool"
        pytest.skip("no promtool: make it first (`arena-install up --profile full`), or put one on PATH")
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_rules_do_as_they_should(promtool: str, case: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", str(case)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_sound(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", *map(str, sorted(RULES.glob("*.yaml")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tried() -> None:
    tried = "\n".join(case.read_text() for case in CASES)
    assert [name for name in sorted(shipped_rules()) if name not in tried] == []
    assert set(ARENA) <= shipped_rules()


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for file in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
            assert rule["labels"]["severity"] in ("critical", "warning", "info", "none"), rule["alert"]


def test_programs_own_errors_are_the_harmless_ones() -> None:
    """The rules can't import a table: both must say the same."""
    of = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    for alert in ("GpuXid", "GpuProgramError"):
        found = {int(word) for word in of[alert].replace(")", " ").split() if word.isdigit()} - {0}
        assert found == set(xids.HARMLESS), alert
