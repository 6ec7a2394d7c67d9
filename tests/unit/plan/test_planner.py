"""The planner is pure: each case is a JSON file of wishes, records and the plan they must give."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.plan import ComponentAction, Item, Plan, Reason, Record, Role, RoleAction, make_plan

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
    renews = case.get("renews", {})
    roles = [
        Role(name, name, tuple(groups), (), (), (), (), Path("/nonexistent"), renews=renews.get(name, {}))
        for name, groups in case["roles"].items()
    ]
    records = {
        host: {role: record(row) for role, row in rows.items()} for host, rows in case["records"].items()
    }
    digests = {host: dict(case["digests"]) for host in case["hosts"]}
    rows = case.get("components_found", {})
    found = None if rows is None else {name: record(row) for name, row in rows.items()}
    plan = make_plan(cluster, roles, records, digests, case.get("components_wanted", {}), found)
    seen = {
        "roles": [[action.role, action.host, [str(reason) for reason in action.reasons]] for action in plan.roles],
        "components": [[action.component, [str(reason) for reason in action.reasons]] for action in plan.components],
    }
    assert seen == case["plan"]
    assert plan.empty == (not case["plan"]["roles"] and not case["plan"]["components"])


def record(row: dict[str, Any]) -> Record:
    return Record(row["status"], row["inputs"], tuple(Item(*item) for item in row.get("items", ())))


def test_the_plan_as_json_has_every_reason() -> None:
    drift = Reason("drift", "Service a/b", "as installed", "absent")
    plan = Plan((RoleAction("base", "w1", (Reason("new"),)),), (ComponentAction("net", (drift,)),))
    assert json.loads(json.dumps(plan.as_dict())) == {
        "changes": True,
        "roles": [{"role": "base", "host": "w1", "reasons": [asdict(Reason("new"))]}],
        "components": [{"component": "net", "reasons": [asdict(drift)]}],
        "left_out": {},
    }


def test_there_are_cases() -> None:
    assert len(CASES) >= 7
