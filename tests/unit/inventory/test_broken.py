"""Every broken inventory and cluster.yaml in broken/ is refused with its file:line and a reason a person can act on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from arena_install.errors import ArenaError
from arena_install.inventory import load

BROKEN = Path(__file__).parent / "broken"
TABLE: list[dict[str, Any]] = yaml.safe_load((BROKEN / "table.yaml").read_text())
every_case = pytest.mark.parametrize("case", TABLE, ids=[case["at"] for case in TABLE])

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture(autouse=True)
def _as_a_user_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BROKEN)


def files(case: dict[str, Any]) -> tuple[Path, Path | None]:
    return Path(case.get("inventory", "good.ini")), Path(case["config"]) if "config" in case else None


def arguments(case: dict[str, Any]) -> list[str]:
    inventory, config = files(case)
    return ["plan", "-i", str(inventory), *(["-c", str(config)] if config else [])]


def assert_said(case: dict[str, Any], message: str) -> None:
    assert f"{case['at']}: " in message, message
    missing = [word for word in case["words"] if word not in message]
    assert not missing, f"{missing} is not said in:\n{message}"
    assert "Traceback" not in message
    assert "hunter" not in message, "a secret"
    assert len(message) < 1200, message


@every_case
def test_load_refuses(case: dict[str, Any]) -> None:
    with pytest.raises(ArenaError) as caught:
        load(*files(case))
    assert caught.value.exit_code == 2
    assert_said(case, str(caught.value))


@every_case
def test_plan_refuses(case: dict[str, Any], command: Any) -> None:
    answer = command(*arguments(case))
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.out
    assert_said(case, answer.err)


@pytest.mark.parametrize("at", ["typo-workers.ini:4", "config-typo.yaml:2", "two-control-planes.ini:4"])
def test_a_process_of_its_own_says_the_same(at: str, command: Any, child_environment: dict[str, str]) -> None:
    """The warm command line of the other tests is no different from a cold one."""
    case = next(case for case in TABLE if case["at"] == at)
    cold = subprocess.run(
        [sys.executable, "-m", "arena_install", *arguments(case)],
        env=child_environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    answer = command(*arguments(case))
    assert cold.returncode == 2, cold.stderr
    assert (cold.returncode, cold.stdout, cold.stderr) == (answer.code, answer.out, answer.err)
    assert cold.returncode == 2


def test_the_table_names_every_file() -> None:
    """A file that no case reads would prove nothing."""
    named = {Path(case[key]) for case in TABLE for key in ("inventory", "config") if key in case}
    there = {Path(file.name) for file in BROKEN.iterdir() if file.suffix in (".ini", ".yml", ".yaml")}
    assert there - named == {Path("good.ini"), Path("table.yaml")}
    assert len(TABLE) >= 40
