"""Facts and the API's word to causes, by JSON cases: what differs from base.json, and what is to be said of it.

A case's `facts` and `api` are merged into the base's (RFC 7396: null takes a key out); nodes and workloads go by name,
pods by "namespace/name". causes: [link, hosts, words that the cause or its evidence or its mending holds].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arena_install.diagnosis import ClusterView, Diagnosis, diagnose
from arena_install.diagnosis.diagnose import CHAIN
from arena_install.inventory.cluster import Cluster, Host
from arena_install.inventory.config import Config
from arena_install.probe.facts import Facts
from arena_install.probe.findings import find

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.json"))
BASE = json.loads((HERE / "base.json").read_text())


def merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def keyed(api: dict[str, Any]) -> dict[str, Any]:
    pods = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in api["pods"]}
    named = {kind: {row["metadata"]["name"]: row for row in api[kind]} for kind in ("nodes", "workloads")}
    return {**api, **named, "pods": pods}


def view_of(patch: Any) -> ClusterView:
    api = merged(keyed(BASE["api"]), patch)
    for kind in ("nodes", "workloads", "pods"):
        api[kind] = tuple(api.get(kind, {}).values())
    return ClusterView(**{key: tuple(value) if isinstance(value, list) else value for key, value in api.items()})


def judge(case: dict[str, Any]) -> Diagnosis:
    groups = merged(BASE["groups"], case.get("groups", {}))
    facts = {}
    for name in groups:
        patch = case.get("facts", {}).get(name, {})
        facts[name] = patch if patch.get("status") == "unreachable" else merged(BASE["facts"].get(name), patch)
    hosts = tuple(
        Host(name, frozenset(mine), f"10.89.1.{number}", f"10.89.1.{number}", {"nvidia_driver_mode": "simulated"})
        for (name, mine), number in zip(groups.items(), (11, 21, 22, 23), strict=False)
    )
    cluster = Cluster("test", hosts, Config(), None)
    found = Facts.from_dict({"hosts": facts})
    facts_told = Facts(found.hosts, find(cluster, found.hosts))
    return diagnose(cluster, facts_told, view_of(case.get("api", {})), case.get("now", BASE["now"]))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text())
    diagnosis = judge(case)
    assert [[cause.link, list(cause.hosts)] for cause in diagnosis.causes] == [row[:2] for row in case["causes"]]
    for cause, (_, _, words) in zip(diagnosis.causes, case["causes"], strict=True):
        told = "\n".join([cause.what, *cause.seen, *(fix.command for fix in cause.fixes)])
        assert words in told
        assert cause.seen
        assert cause.fixes
    follows = "\n".join(text for cause in diagnosis.causes for text in cause.follows)
    for words in case.get("follows", []):
        assert words in follows
    notes = "\n".join(note.text for note in diagnosis.notes)
    for words in case.get("notes", []):
        assert words in notes
    assert bool(diagnosis.notes) == bool(case.get("notes"))
    assert diagnosis.exit_code == case.get("exit", 1 if case["causes"] else 0)


def test_nothing_is_broken_in_the_base() -> None:
    diagnosis = judge({})
    assert diagnosis.causes == ()
    assert diagnosis.notes == ()
    assert diagnosis.exit_code == 0
    counts = diagnosis.counts
    assert (counts.reached, counts.ready, counts.dns, counts.allocatable, counts.gpus) == (3, 3, 2, 8, 8)
    assert counts.pods == counts.pods_ready == len(BASE["api"]["pods"])


def test_every_link_has_a_case() -> None:
    """Those of the chain that only real GPUs have are in test_gpu_chain.py."""
    covered = {row[0] for path in CASES for row in json.loads(path.read_text())["causes"]}
    links = {link.name for link in CHAIN} | {"DNS", "components", "the API from here"}
    assert links - covered == {"PCI", "kernel module"}


def test_needs_name_links_of_the_chain() -> None:
    names = [link.name for link in CHAIN]
    assert len(names) == len(set(names))
    for link in CHAIN:
        assert set(link.needs) <= set(names)
