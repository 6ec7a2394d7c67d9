"""CTRF JSON (https://ctrf.io, specification 0.0.0): a test report that many tools read.

Its statuses know no "error": that becomes "failed" and keeps its own name in rawStatus. A skip stays a skip, with
`extra.required` beside it; whether the run passed is `extra.exitCode` of the document.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arena_install.verify.model import Report, Result

STATUSES = ("passed", "failed", "skipped", "pending", "other")
_STATUS = {"pass": "passed", "fail": "failed", "error": "failed", "skip": "skipped"}
_NAMESPACE = uuid.UUID(
    "6f0e4a4e-5d0c-5a5b-9a53-0b0f5b7f6a11"
)  # of check ids, so that a test's id is the same in every report


def document(report: Report) -> dict[str, Any]:
    tests = [_test(result) for result in report.results]
    counts = {status: sum(test["status"] == status for test in tests) for status in STATUSES}
    env = report.environment
    return {
        "reportFormat": "CTRF",
        "specVersion": "0.0.0",
        "reportId": str(uuid.uuid5(_NAMESPACE, f"{report.cluster}/{report.id}/{report.started}")),
        "timestamp": datetime.fromtimestamp(report.finished, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "generatedBy": "arena-install",
        "extra": {
            "cluster": report.cluster,
            "run": report.id,
            "suites": list(report.suites),
            "exitCode": report.exit_code,
            "interrupted": report.interrupted,
            "gpu": env.gpu,
            "compute": env.compute,
            "remarks": list(report.remarks),
        },
        "results": {
            "tool": {"name": "arena-install verify", "version": report.tool_version},
            "summary": {
                "tests": len(tests),
                **counts,
                "suites": len({result.suite for result in report.results}),
                "start": _ms(report.started),
                "stop": _ms(report.finished),
                "duration": _ms(report.finished - report.started),
            },
            "tests": tests,
            "environment": {
                "appName": report.cluster,
                "testEnvironment": report.gpu_line,
                "extra": {
                    "server": env.server,
                    "kubernetes": env.kubernetes,
                    "nodes": [vars(node) for node in env.nodes],
                },
            },
        },
    }


def _test(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    test: dict[str, Any] = {
        "id": str(uuid.uuid5(_NAMESPACE, result.id)),
        "name": result.id,
        "status": _STATUS[result.status],
        "duration": _ms(result.seconds),
        "start": _ms(result.started),
        "stop": _ms(result.started + result.seconds),
        "suite": [result.suite],
        "rawStatus": result.status,
        "type": "acceptance",
        "extra": {
            "title": result.title,
            "proves": result.proves,
            "severity": result.severity,
            "required": result.required,
            "needs": list(result.needs),
            "blockedBy": result.blocked_by,
            "expected": outcome.expected,
            "observed": outcome.observed,
            "cause": outcome.cause,
            "fix": outcome.fix,
            "data": dict(outcome.data),
        },
    }
    if result.status != "pass":
        test["message"] = outcome.cause or outcome.observed
    if outcome.evidence:
        test["attachments"] = [
            {"name": path.split("/", 1)[-1], "contentType": _content_type(path), "path": f"evidence/{path}"}
            for path in outcome.evidence
        ]
    return test


def _content_type(path: str) -> str:
    return {"json": "application/json", "yaml": "application/yaml"}.get(path.rsplit(".", 1)[-1], "text/plain")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def problems(document: dict[str, Any]) -> list[str]:
    """What a CTRF reader would object to: the specification's required fields and types. Empty when it is valid."""
    found = []
    if document.get("reportFormat") != "CTRF":
        found.append('reportFormat must be "CTRF"')
    version = str(document.get("specVersion", "")).split(".")
    if len(version) != 3 or not all(part.isdigit() for part in version):
        found.append("specVersion must be MAJOR.MINOR.PATCH")
    results = document.get("results")
    if not isinstance(results, dict):
        return [*found, "results is missing"]
    if not results.get("tool", {}).get("name"):
        found.append("results.tool.name is missing")
    summary = results.get("summary", {})
    for key in ("tests", *STATUSES, "start", "stop"):
        if not isinstance(summary.get(key), int):
            found.append(f"results.summary.{key} must be an integer")
    tests = results.get("tests")
    if not isinstance(tests, list):
        return [*found, "results.tests is missing"]
    for index, test in enumerate(tests):
        if not isinstance(test.get("name"), str) or not test["name"]:
            found.append(f"results.tests[{index}].name is missing")
        if test.get("status") not in STATUSES:
            found.append(f"results.tests[{index}].status is {test.get('status')!r}")
        if not isinstance(test.get("duration"), int):
            found.append(f"results.tests[{index}].duration must be an integer")
        for attachment in test.get("attachments", ()):
            if set(attachment) < {"name", "contentType", "path"}:
                found.append(f"results.tests[{index}] has an attachment without name, contentType or path")
    for status in STATUSES:
        if isinstance(summary.get(status), int) and summary[status] != sum(t.get("status") == status for t in tests):
            found.append(f"results.summary.{status} does not count the tests")
    return found
