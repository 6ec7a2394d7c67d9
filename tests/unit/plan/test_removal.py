"""What goes is pure: each case is a JSON file of hosts, their ledgers, who is named, and the removal or refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena_install.errors import ArenaError, ConfigError
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.plan import Role, named_hosts, remove_hosts
from arena_install.probe.facts import LedgerItem, LedgerRecord

CASES = sorted((Path(__file__).parent / "removals").glob("*.json"))
ROLES = ("host_base", "registry", "container_runtime", "kubernetes_node", "control_plane", "worker")


def cluster_of(hosts: dict[str, list[str]]) -> Cluster:
    rows = tuple(Host(name, frozenset(groups), name, "") for name, groups in hosts.items())
    return Cluster("lab", rows, Config(), None)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_removal(path: Path) -> None:
    case = json.loads(path.read_text())
    cluster = cluster_of(case["hosts"])
    roles = [Role(name, name, (), (), (), (), (), Path("/nonexistent")) for name in ROLES]
    ledgers = {
        host: None if rows is None else {role: record(row) for role, row in rows.items()}
        for host, rows in case["ledgers"].items()
    }
    try:
        removal = remove_hosts(cluster, roles, ledgers, case.get("named", ()), case.get("leaving", ()))
    except ArenaError as error:
        assert [str(error).splitlines()[0], error.exit_code] == case["refused"]
        return
    seen = {
        "hosts": {row.host: list(row.roles) if row.reached else None for row in removal.hosts},
        "whole": removal.whole,
        "keeper": removal.keeper,
    }
    things = {row.host: [str(thing) for thing in row.things] for row in removal.hosts if row.things}
    assert {**seen, **({"things": things} if things else {})} == case["removal"]


def record(row: dict[str, list[list[str]]]) -> LedgerRecord:
    items = tuple(LedgerItem(*item) for item in row.get("before", ()))
    return LedgerRecord("done", before=items, packages=tuple(map(str, row.get("packages", ()))))


def test_there_are_cases() -> None:
    assert len(CASES) >= 9


def test_a_host_may_be_named_without_its_labs_name() -> None:
    cluster = cluster_of({"lab-cp1": ["control_plane"], "lab-w1": ["worker"]})
    assert named_hosts(cluster, ["w1", "lab-w1"]) == ("lab-w1",)
    with pytest.raises(ConfigError, match="no host 'lab-w2'") as caught:
        named_hosts(cluster, ["lab-w2"])
    assert caught.value.fix == "did you mean `lab-w1`?"
