"""The planner is pure: each case is a JSON file of wishes, records and the plan they must give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.plan import Item, Record, Role, make_plan

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    case = json.loads(path.read_text())
    cluster = Cluster(
        "case",
        tuple(Host(name, frozenset(groups), name, "") for name, groups in case["hosts"].items()),
        Config(),
        None,
    )
    roles = [
        Role(name, name, tuple(groups), (), (), (), (), Path("/nonexistent")) for name, groups in case["roles"].items()
    ]
    records = {
        host: {
            role: Record(row["status"], row["inputs"], tuple(Item(*item) for item in row.get("items", ())))
            for role, row in rows.items()
        }
        for host, rows in case["records"].items()
    }
    digests = {host: dict(case["digests"]) for host in case["hosts"]}
    plan = make_plan(
        cluster, roles, records, digests, case.get("components_wanted", {}), case.get("components_found", {})
    )
    seen = {
        "roles": [[action.role, action.host, [str(reason) for reason in action.reasons]] for action in plan.roles],
        "components": [[action.component, action.why] for action in plan.components],
    }
    assert seen == case["plan"]
    assert plan.empty == (not case["plan"]["roles"] and not case["plan"]["components"])


def test_there_are_cases() -> None:
    assert len(CASES) >= 7
