"""Profile full, component by component: each goes alone while the others stay well, and comes back; then all go, and
leave the cluster as it was before the first of them.

In the lab that ARENA_E2E_LAB names (with nobody's work in it), or in a new one.
"""

from __future__ import annotations

import json

import objects
import pytest
from arena_user import Site, eventually, install, installer

from arena_install.stack import catalogue, needed
from arena_install.stack.graph import dependents

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

NAMES = needed("full")


def done(site: Site, *words: str) -> None:
    install(*words, "--name", site.name)


def failing(site: Site) -> dict[str, str]:
    """Check -> cause, of all that a run which writes nothing can see."""
    found = installer("verify", "--profile", "full", "--read-only", "--json", "--name", site.name)
    rows = json.loads(found.stdout)["results"]["tests"]
    return {row["name"]: row["extra"]["cause"] for row in rows if row["rawStatus"] in ("fail", "error")}


def test_all_is_well_before(site: Site) -> None:
    assert failing(site) == {}


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_alone_and_the_others_stay_well(site: Site, name: str) -> None:
    others = dependents(name, NAMES, catalogue())
    before = objects.take(site.kubectl)
    if others:
        refused = installer("down", f"--component={name}", "--yes", "--name", site.name)
        assert refused.returncode == 2 and all(other in refused.stderr for other in others), refused.stderr
        assert objects.take(site.kubectl) == before
    out = [name, *others]
    done(site, "down", *(f"--component={one}" for one in out), "--yes")
    gone = objects.take(site.kubectl)
    try:
        assert gone != before
        assert failing(site) == {}
    finally:
        done(site, "up", *(f"--only={one}" for one in out), "--verify=none")
    eventually(lambda: sorted(objects.take(site.kubectl) ^ before) == [], f"{name} to be as before", 60)
    assert failing(site) == {}


def test_all_go_one_after_the_other_and_leave_no_trace(site: Site) -> None:
    """What each leaves is what was there before it came."""
    done(site, "down", *(f"--component={name}" for name in NAMES), "--yes")
    seen = [objects.take(site.kubectl)]
    for name in NAMES:
        done(site, "up", f"--only={name}", "--verify=none")
        seen.append(objects.take(site.kubectl))
    for name in reversed(NAMES):
        done(site, "down", f"--component={name}", "--yes")
        seen.pop()
        assert sorted(objects.take(site.kubectl) ^ seen[-1]) == [], name
    done(site, "up", "--profile=full", "--verify=none")
