"""JUnit XML, as CI systems read it. There a skip is harmless; therefore a *required* check that was skipped is a
failure of type "required-skip" here: what fails the run must not look green in CI."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arena_install.verify.model import Report, Result


def document(report: Report) -> str:
    root = ElementTree.Element("testsuites", name=f"arena-install verify {report.cluster}")
    _count(root, report.results, report.finished - report.started)
    for suite in dict.fromkeys(result.suite for result in report.results):
        mine = tuple(result for result in report.results if result.suite == suite)
        first = min(result.started for result in mine)
        stamp = datetime.fromtimestamp(first, UTC).isoformat(timespec="seconds").replace("+00:00", "")
        element = ElementTree.SubElement(root, "testsuite", name=suite, timestamp=stamp)
        _count(element, mine, sum(result.seconds for result in mine))
        properties = ElementTree.SubElement(element, "properties")
        for name, value in (("cluster", report.cluster), ("run", report.id), ("gpu", report.gpu_line)):
            ElementTree.SubElement(properties, "property", name=name, value=value)
        for result in mine:
            _case(element, result)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _kind(result: Result) -> str:
    """The element that says how a case ended, "" for a pass."""
    if result.status == "skip":
        return "failure" if result.required else "skipped"
    return {"pass": "", "fail": "failure", "error": "error"}[result.status]


def _count(element: ElementTree.Element, results: tuple[Result, ...], seconds: float) -> None:
    kinds = [_kind(result) for result in results]
    element.set("tests", str(len(results)))
    element.set("failures", str(kinds.count("failure")))
    element.set("errors", str(kinds.count("error")))
    element.set("skipped", str(kinds.count("skipped")))
    element.set("time", f"{seconds:.3f}")


def _case(suite: ElementTree.Element, result: Result) -> None:
    outcome = result.outcome
    case = ElementTree.SubElement(
        suite,
        "testcase",
        name=f"{result.id}: {result.title}",
        classname=f"arena_install.{result.suite}",
        time=f"{result.seconds:.3f}",
    )
    if kind := _kind(result):
        message = outcome.cause or outcome.observed
        end = ElementTree.SubElement(case, kind, message=_clean(message.splitlines()[0] if message else kind))
        if kind != "skipped":
            end.set("type", "required-skip" if result.status == "skip" else result.status)
            lines = (
                ("cause", outcome.cause),
                ("expected", outcome.expected),
                ("observed", outcome.observed),
                ("fix", outcome.fix),
            )
            end.text = _clean("\n".join(f"{name}: {text}" for name, text in lines if text))
    said = [f"observed: {outcome.observed}", *(f"evidence: evidence/{path}" for path in outcome.evidence)]
    ElementTree.SubElement(case, "system-out").text = _clean("\n".join(said))


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 can't hold."""
    return "".join(c if c in "\t\n\r" or ord(c) >= 32 else "�" for c in text)
