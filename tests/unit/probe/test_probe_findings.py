"""Facts to findings, by JSON cases: hosts as wanted, facts as found, and [id, host, severity] of what is to be said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.probe.facts import Facts, HostFacts
from arena_install.probe.findings import PORTS, find
from arena_install.probe.upkeep import CERTIFICATE_DAYS, upkeep

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


def load(path: Path) -> tuple[Cluster, Facts, dict[str, Any]]:
    case = json.loads(path.read_text())
    hosts = tuple(
        Host(name, frozenset(row["groups"]), row["node_ip"], row["node_ip"], row.get("vars", {}))
        for name, row in case["hosts"].items()
    )
    return (
        Cluster("test", hosts, Config(**case.get("config", {})), None),
        Facts.from_dict({"hosts": case["facts"]}),
        case,
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    cluster, facts, case = load(path)
    findings = find(cluster, facts.hosts)
    assert sorted([f.id, f.host, f.severity] for f in findings) == sorted(case["findings"])
    for finding in findings:
        assert finding.title
        assert finding.observed
        assert finding.expected
        assert finding.fix
    ranks = [["error", "warning", "info"].index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)


def test_facts_survive_json() -> None:
    for path in CASES:
        cluster, facts, _ = load(path)
        full = Facts(facts.hosts, find(cluster, facts.hosts))
        assert Facts.from_json(full.to_json()) == full


def test_every_finding_has_a_case() -> None:
    covered = {row[0] for path in CASES for row in json.loads(path.read_text())["findings"]}
    folder = Path(__file__).parents[3] / "installer/arena_install/probe"
    text = "".join((folder / name).read_text() for name in ("findings.py", "across.py", "upkeep.py"))
    named = set(re.findall(r'(?:Finding\(|_same\(\s*reached,)\s*"([a-z-]+)"', text))
    assert len(named) > 20
    assert named == covered


def test_ports_are_named_as_ss_names_them() -> None:
    assert all(len(process) <= 15 for _, allowed in PORTS.values() for process in allowed)


@pytest.mark.parametrize(("days", "severity"), [(-1, "error"), (29, "warning"), (31, None)])
def test_days_that_a_certificate_has_left(days: int, severity: str | None) -> None:
    now = 1_700_000_000.0
    facts = HostFacts(certificates={"/var/lib/kubelet/pki/kubelet.crt": now + days * 86400})
    found = list(upkeep(Host("a", frozenset({"worker"}), "a", "a", {}), facts, now))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all("restart kubelet" in finding.fix for finding in found)
    assert CERTIFICATE_DAYS == 30
