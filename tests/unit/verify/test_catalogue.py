"""The table of checks that people read is the one that the program has."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from arena_install.verify import catalogue, registry

PAGE = Path(__file__).parents[3] / "docs/checks.md"


def test_the_page_is_true() -> None:
    assert PAGE.read_text() == catalogue.markdown(), "arena-install schema checks --markdown > docs/checks.md"


def test_the_program_tells_its_checks() -> None:
    from arena_install.cli.main import app

    said = CliRunner().invoke(app, ["schema", "checks"])
    assert [row["id"] for row in json.loads(said.stdout)] == list(registry.load())
    assert CliRunner().invoke(app, ["schema", "checks", "--markdown"]).stdout == catalogue.markdown()
