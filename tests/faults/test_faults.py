"""Every fault in a running cluster: the checks that it breaks pass, fail while it is in, and pass when it is mended."""

from __future__ import annotations

import time

import pytest

from arena_install.lab.faults import Fault, load
from rehearsal import Rehearsal, digest, on_page
from rehearsal import load as earlier

pytestmark = [pytest.mark.e2e, pytest.mark.lab]


@pytest.mark.parametrize("fault", load().values(), ids=lambda fault: fault.name)
def test_fault(fault: Fault, rehearsal: Rehearsal, request: pytest.FixtureRequest) -> None:
    before = earlier(fault.name)
    same = before and before.good and before.digest == digest(fault) and before.thorough >= rehearsal.thorough
    if not request.config.getoption("--fresh"):
        if before and same:
            day = time.strftime("%F %R", time.gmtime(before.started))
            pytest.skip(f"seen with this code on {day}; --fresh repeats it")
        if not rehearsal.thorough and on_page().get(fault.name, ("",))[0] == digest(fault):
            pytest.skip("docs/faults.md has it, of this code; --fresh repeats it")
    seen = rehearsal.run(fault)
    assert not seen.problems, "\n".join(seen.problems)
