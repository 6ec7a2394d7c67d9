"""The rights of a user against what arena's own source asks of the API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from arena_cli.kinds import KINDS
from arena_cli.kube import resources
from arena_install import users
from arena_install.users.role import JOBS

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "installer" / "arena_cli"
GOLDEN = ROOT / "tests" / "unit" / "arena_cli" / "golden"

#: Asked for where one may, and done without where not: (API group, resource).
FORGIVEN = {("", "pods")}


def test_every_kind_of_job_can_be_made_looked_at_and_removed() -> None:
    rights = users.rights()
    for kind in KINDS:
        group = kind.api.partition("/")[0]
        assert {(verb, group, kind.plural) for verb in ("create", "get", "list", "delete")} <= rights, kind.type


@pytest.mark.parametrize("path", sorted(path for path in GOLDEN.glob("*.yaml") if ".values." not in path.name),
                         ids=lambda path: path.stem)  # fmt: skip
def test_all_that_charts_render_can_be_made_and_removed(path: Path) -> None:
    rights = users.rights()
    for obj in yaml.safe_load_all(path.read_text()):
        version, plural = resources.KNOWN[resources.key(obj)]
        group = version.rpartition("/")[0]
        assert {(verb, group, plural) for verb in ("create", "get", "delete")} <= rights


def test_all_that_its_source_names_can_be_read() -> None:
    """at("batch/v1", "cronjobs", ...) and the like."""
    found = {
        (group.rpartition("/")[0], plural)
        for file in SOURCE.rglob("*.py")
        for group, plural in re.findall(r'\bat\("([a-z0-9./]+)", "([a-z]+)"', file.read_text())
        if plural not in ("selfsubjectreviews", "selfsubjectaccessreviews")
    }
    assert ("scheduling.k8s.io", "priorityclasses") in found and len(found) > 8
    readable = {
        (group, what) for verb, group, what in users.rights() | users.rights(users.CLUSTER_RULES) if verb == "get"
    }
    assert found - readable == set()


def test_nothing_that_leads_out_of_a_namespace() -> None:
    rights = users.rights() | users.rights(users.CLUSTER_RULES)
    assert not [row for row in rights if "*" in row]
    assert not {verb for verb, _, _ in rights} & {"escalate", "bind", "impersonate", "update", "deletecollection"}
    assert not {what for _, _, what in rights} & {"pods/portforward", "serviceaccounts/token", "clusterrolebindings"}
    assert {verb for verb, _, _ in users.rights(users.CLUSTER_RULES)} == {"get", "list"}


def test_jobs_are_counted_of_all_kinds_that_a_user_may_make() -> None:
    known = {(version.partition("/")[0], kind) for version, kind, _ in JOBS}
    assert {(kind.api.partition("/")[0], kind.resource) for kind in KINDS} <= known
