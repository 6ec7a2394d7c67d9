"""The framework: needs, required skips, timeouts, errors, exclusion, and the exit code they add up to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from arena_install.errors import ConfigError, StepError, TimedOutError, UnreachableError
from arena_install.events import Event
from arena_install.verify import registry, runner
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import SUITES, Check, Environment, Outcome, Report, Result, failed, passed, skipped
from arena_install.verify.run import images_for, suites_for
from arena_install.verify.runner import Runner
from arena_install.verify.session import Session

Make = Callable[..., Check]


def good(_: Context) -> Outcome:
    return passed("1", "1")


def bad(_: Context) -> Outcome:
    return failed("1", "2", cause="two", fix="make it one")


def run(session: Session, *checks: Check, parallel: int = 4) -> dict[str, Result]:
    it = Runner(session, checks, parallel)
    it.run()
    return it.results


def report_of(*results: Result, **more: Any) -> Report:
    return Report("id", "lab", "0", ("cluster",), 0.0, 1.0, Environment(), results, **more)


def test_checks_run_after_their_needs(session: Session, make_check: Make) -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[Context], Outcome]:
        def check(_: Context) -> Outcome:
            order.append(name)
            return passed("", "")

        return check

    run(
        session,
        make_check("a.last", note("last"), needs=("a.middle",)),
        make_check("a.middle", note("middle"), needs=("a.first",)),
        make_check("a.first", note("first")),
    )
    assert order == ["first", "middle", "last"]


def test_what_runs_alone_comes_after_the_others_and_beside_none(session: Session, make_check: Make) -> None:
    running: set[str] = set()
    seen: list[tuple[str, set[str]]] = []
    lock = threading.Lock()

    def look(ctx: Context) -> Outcome:
        with lock:
            running.add(ctx.check.id)
            seen.append((ctx.check.id, set(running)))
        time.sleep(0.05)
        with lock:
            running.discard(ctx.check.id)
        return passed("", "")

    run(
        session,
        make_check("a.last", look, last=True),
        make_check("a.measure", look, alone=True),
        make_check("a.reads-it", look, needs=("a.measure",)),
        make_check("a.disturb", look, alone=True),
        *(make_check(f"a.other-{i}", look) for i in range(4)),
    )
    order = [id for id, _ in seen]
    assert set(order[:4]) == {f"a.other-{i}" for i in range(4)} and order[-1] == "a.last"
    assert all(beside == {id} for id, beside in seen if id in ("a.measure", "a.disturb"))
    assert order.index("a.reads-it") > order.index("a.measure")


def test_what_needs_a_failed_check_is_skipped_and_so_is_what_needs_that(session: Session, make_check: Make) -> None:
    results = run(
        session,
        make_check("a.base", bad),
        make_check("a.on-top", good, needs=("a.base",)),
        make_check("a.further", good, needs=("a.on-top",)),
        make_check("a.beside", good),
    )
    assert {id: result.status for id, result in results.items()} == {
        "a.base": "fail",
        "a.on-top": "skip",
        "a.further": "skip",
        "a.beside": "pass",
    }
    assert results["a.on-top"].outcome.cause == "needs a.base, which failed"
    assert results["a.further"].outcome.cause == "needs a.on-top, which was skipped"


def test_an_unmet_condition_skips_with_reason_and_fix(session: Session, make_check: Make) -> None:
    result = run(session, make_check("a.images", good, needs=("fact:lock",)))["a.images"]
    assert result.status == "skip"
    assert "resolved lock" in result.outcome.cause
    assert result.outcome.fix


def test_errors_become_outcomes(session: Session, make_check: Make) -> None:
    def raising(error: Exception) -> Callable[[Context], Outcome]:
        def check(_: Context) -> Outcome:
            raise error

        return check

    results = run(
        session,
        make_check("a.found", raising(CheckFailed("pod stuck", cause="no image", fix="get the image"))),
        make_check("a.step", raising(StepError("refused", why="403", fix="ask"))),
        make_check("a.gone", raising(UnreachableError("no answer", where="1.2.3.4", why="refused"))),
        make_check("a.late", raising(TimedOutError("waited 3 s for a pod"))),
        make_check("a.bug", raising(KeyError("spec"))),
    )
    said = {id: (result.status, result.exit_code) for id, result in results.items()}
    assert said == {
        "a.found": ("fail", 1),
        "a.step": ("error", 1),
        "a.gone": ("error", 3),
        "a.late": ("fail", 5),
        "a.bug": ("error", 1),
    }
    assert results["a.found"].outcome.cause == "no image"
    assert results["a.found"].outcome.fix == "get the image"
    assert results["a.bug"].outcome.cause == "the check itself broke: KeyError: 'spec'"
    assert results["a.bug"].outcome.evidence == ("a.bug/traceback.txt",)
    assert "raise error" in (session.evidence / "a.bug/traceback.txt").read_text()


def test_a_wait_ends_at_the_checks_deadline(session: Session, make_check: Make) -> None:
    def check(ctx: Context) -> Outcome:
        ctx.wait(lambda: None, "Godot", every=0.02)
        raise AssertionError("not reached")

    result = run(session, make_check("a.slow", check, timeout=0.1))["a.slow"]
    assert result.status == "fail"
    assert result.exit_code == 5
    assert "Godot" in result.outcome.observed


def test_a_check_that_never_looks_up_is_left_behind(
    session: Session, make_check: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.1)
    release = threading.Event()

    def check(_: Context) -> Outcome:
        release.wait(30)
        return passed("", "too late")

    started = time.monotonic()
    results = run(session, make_check("a.deaf", check, timeout=0.1), make_check("a.next", good, needs=("a.deaf",)))
    release.set()
    assert time.monotonic() - started < 5
    assert (results["a.deaf"].status, results["a.deaf"].exit_code) == ("fail", 5)
    assert results["a.next"].status == "skip"


def test_checks_that_hold_the_same_thing_do_not_overlap(session: Session, make_check: Make) -> None:
    inside, most = [0], [0]

    def check(_: Context) -> Outcome:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        return passed("", "")

    run(session, *(make_check(f"a.{i}", check, holds=("gpu",)) for i in range(3)))
    assert most == [1]


def test_independent_checks_run_side_by_side(session: Session, make_check: Make) -> None:
    meeting = threading.Barrier(3, timeout=5)

    def check(_: Context) -> Outcome:
        meeting.wait()
        return passed("", "")

    results = run(session, *(make_check(f"a.{i}", check) for i in range(3)))
    assert {result.status for result in results.values()} == {"pass"}


def test_every_check_starts_and_ends_once_as_events(session: Session, make_check: Make, events: list[Event]) -> None:
    run(session, make_check("a.good", good), make_check("a.bad", bad), make_check("a.skip", good, needs=("a.bad",)))
    ends = {event.step: (event.outcome, event.text) for event in events if event.kind == "end"}
    assert sorted(event.step for event in events if event.kind == "start") == sorted(ends)
    assert ends["verify/a.good"] == ("ok", "1")
    assert ends["verify/a.bad"] == ("failed", "two")
    assert ends["verify/a.skip"] == ("skipped", "needs a.bad, which failed")


def test_abandoned_checks_are_skipped_with_the_reason(session: Session, make_check: Make) -> None:
    it = Runner(session, [make_check("a.one", good), make_check("a.two", good)])
    it.abandon("the run was interrupted")
    assert {result.outcome.cause for result in it.results.values()} == {"the run was interrupted"}
    assert session.cancelled.is_set()


def done(status_of: Callable[[Context], Outcome] | Outcome, **more: Any) -> Result:
    outcome = status_of if isinstance(status_of, Outcome) else status_of(None)  # type: ignore[arg-type]
    fields: dict[str, Any] = {"required": True, "exit_code": 0} | more
    return Result("a.b", "", "", "a", "major", fields["required"], (), outcome, 0, 0, fields["exit_code"])


def test_exit_codes() -> None:
    assert report_of(done(good)).exit_code == 0
    assert report_of(done(good), done(bad)).exit_code == 1
    assert report_of(done(good), done(skipped("no GPU"), required=False)).exit_code == 0
    assert report_of(done(good), done(skipped("no GPU"))).exit_code == 1
    assert report_of(done(skipped("no GPU"), required=False)).exit_code == 1, "nothing was proved"
    assert report_of().exit_code == 1
    assert report_of(done(good), done(Outcome("error"), exit_code=3)).exit_code == 3
    assert report_of(done(good), done(bad, exit_code=5)).exit_code == 5
    assert report_of(done(bad, exit_code=5), done(bad, exit_code=1)).exit_code == 1
    assert report_of(done(good), interrupted=True).exit_code == 130


def test_a_skip_is_never_in_the_count_of_passes() -> None:
    report = report_of(done(good), done(skipped("why")))
    assert report.headline == "1 of 2 checks passed, 1 skipped"
    assert [result.status for result in report.unmet] == ["skip"]


def test_an_interruption_is_one_thing_to_tell_not_many() -> None:
    report = report_of(done(bad), done(skipped("the run was interrupted")), interrupted=True)
    assert [result.status for result in report.roots] == ["fail"]


def test_suites_bring_what_their_checks_need(make_check: Make) -> None:
    checks = {
        check.id: check
        for check in (
            make_check("cluster.api", good, suites=("cluster", "quick")),
            make_check("gpu.capacity", good, needs=("cluster.api", "fact:gpu")),
            make_check("training.job", good, needs=("gpu.capacity",)),
            make_check("cluster.dns", good),
        )
    }
    assert [check.id for check in registry.select(["training"], checks)] == [
        "cluster.api",
        "gpu.capacity",
        "training.job",
    ]
    assert [check.id for check in registry.select(["quick"], checks)] == ["cluster.api"]
    with pytest.raises(ConfigError, match="no suite 'gpus'"):
        registry.select(["gpus"], checks)


def test_a_read_only_run_leaves_out_what_writes_and_what_needs_that(make_check: Make) -> None:
    checks = [
        make_check("a.look", good),
        make_check("a.pod", good, writes=True),
        make_check("a.its-log", good, needs=("a.pod",)),
        make_check("a.further", good, needs=("a.its-log", "a.look")),
    ]
    assert [check.id for check in registry.reading(checks)] == ["a.look"]


def test_the_registered_checks_hang_together() -> None:
    from arena_install.verify import needs

    checks = registry.load()
    assert set(SUITES) == {suite for check in checks.values() for suite in check.suites}
    for check in checks.values():
        assert check.title and check.proves, check.id
        for need in check.needs:
            assert need in checks or needs.is_condition(need), f"{check.id} needs {need}, which nothing is"
    assert {"cluster.api", "cluster.nodes-ready", "cluster.system-pods", "gpu.device-plugin"} == {
        check.id for check in checks.values() if "quick" in check.suites
    }


def test_a_needed_gpu_is_required_in_its_own_suite_but_not_in_quick(session: Session) -> None:
    from arena_install.verify.run import _as_wanted

    plugin = registry.load()["gpu.device-plugin"]
    without = replace(session.facts, gpu_nodes=())
    assert not _as_wanted(plugin, ["quick"], without).required
    assert _as_wanted(plugin, ["quick"], session.facts).required
    assert _as_wanted(plugin, ["quick", "gpu"], without).required


def test_what_a_cluster_of_these_components_can_prove() -> None:
    assert suites_for(["flannel", "nvidia-device-plugin", "training-operator"]) == (
        "quick",
        "host",
        "cluster",
        "gpu",
        "training",
        "security",
        "scale",
    )
    assert suites_for(["flannel"]) == ("quick", "host", "cluster", "security", "scale")
    assert images_for(("quick",)) == ()
    assert len(images_for(("quick", "cluster", "gpu"))) == 2
