"""The judge of `make faults`: what it calls as declared, and what not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from arena_install.lab.faults import Fault
from arena_install.verify import registry
from rehearsal import Rehearsal, expected, first_cause

FAULT = Fault(
    name="x", suite="gpu", title="x", on="gpu", inject="x", mend="x", fails=("gpu.labels",), also=("cluster.images",)
)
FAILS = {"status": "fail", "cause": "it is so", "fix": "mend it"}
PASSES = {"status": "pass", "cause": "", "fix": ""}


class Stage(Rehearsal):
    """Checks that fail while the fault is in, and those that always do."""

    def __init__(self, under: Iterable[str], always: Iterable[str] = ()) -> None:
        super().__init__("dev", narrow=True)
        self.under, self.always, self.broken = set(under), set(always), False

    def verify(self, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        bad = self.always | (self.under if self.broken else set())
        return {id: FAILS if id in bad else PASSES for id in {*ids, "cluster.dns"}}

    def _fault(self, name: str, *more: str) -> None:
        self.broken = not more


def test_as_declared() -> None:
    stage = Stage({"gpu.labels", "cluster.images"})
    seen = stage.run(FAULT)
    assert seen.good and not stage.broken and seen.during["gpu.labels"] == "fail"


@pytest.mark.parametrize(
    ("under", "always", "problem"),
    [
        (("cluster.images",), (), "gpu.labels should fail, it says pass"),
        (("gpu.labels",), (), "cluster.images is declared to fail too, and passes"),
        (("gpu.labels", "cluster.images", "cluster.dns"), (), "cluster.dns is fail too: it is so"),
        (("gpu.labels", "cluster.images"), ("gpu.labels",), "gpu.labels did not pass before: it is so"),
    ],
)
def test_not_as_declared(under: tuple[str, ...], always: tuple[str, ...], problem: str) -> None:
    seen = Stage(under, always).run(FAULT)
    assert problem in seen.problems and not seen.good


def test_what_failed_before_is_set_aside_and_named_but_never_what_a_fault_is_about() -> None:
    stage = Stage({"gpu.labels", "cluster.images"}, {"cluster.dns"})
    seen = stage.run(FAULT)
    assert seen.good and seen.aside == {"cluster.dns": "it is so"}
    dns = FAULT.model_copy(update={"fails": ("cluster.dns",), "also": ()})
    assert stage.run(dns).problems == ["cluster.dns did not pass before: it is so"]


def test_what_needs_a_broken_check_is_expected_to_be_left_out() -> None:
    fault = FAULT.model_copy(update={"fails": ("training.job",), "also": ()})
    assert {"training.job", "training.learns", "training.placement"} <= expected(fault, registry.load())
    assert "gpu.labels" not in expected(fault, registry.load())


def test_the_first_cause_is_doctors_first_block() -> None:
    screen = "cluster dev\n✗ dev-w1: containerd is stopped\n    fix  start it\n✗ dev-w2: other\n    fix  that\n"
    assert first_cause(screen) == "dev-w1: containerd is stopped\nfix  start it"
    assert first_cause("✓ 3 hosts: nothing\n") == ""
