"""One HTML page that holds everything: verdict, what mends it, environment, training curve, every check, its evidence.

No script and nothing loaded from anywhere: the page can be mailed, archived and opened without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from arena_install.templates import environment
from arena_install.verify.formats import curve
from arena_install.verify.formats.terminal import span

if TYPE_CHECKING:
    from arena_install.verify.model import Report, Result, Status

_INLINE = 16_000  # characters of one evidence file shown on the page; the file itself is always beside it
_WORDS: dict[Status, str] = {"pass": "passed", "fail": "failed", "error": "error", "skip": "skipped"}


class Evidence(TypedDict):
    path: str
    size: str
    text: str
    cut: bool


def page(report: Report, evidence: Path) -> str:
    """The page. evidence: the folder whose files are shown; one that is missing is only named."""
    made = environment("arena_install.verify", "formats")
    made.filters["span"] = span
    return made.get_template("report.html.j2").render(
        report=report,
        env=report.environment,
        verdict="interrupted" if report.interrupted else "passed" if report.exit_code == 0 else "failed",
        when=datetime.fromtimestamp(report.started, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        took=span(report.finished - report.started),
        words=_WORDS,
        counts=[(status, _WORDS[status] if status != "error" else "errors", report.count(status)) for status in _WORDS],
        suites=_by_suite(report.results),
        evidence={result.id: [_shown(evidence, path) for path in result.outcome.evidence] for result in report.results},
        curves=_curves(report),
        replicas=_data(report, "training.gpu-identity").get("replicas", []),
    )


def _by_suite(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(result.suite, []).append(result)
    return list(suites.items())


def _data(report: Report, id: str) -> dict[str, Any]:
    return next((dict(result.outcome.data) for result in report.results if result.id == id), {})


def _curves(report: Report) -> list[tuple[str, str]]:
    """(caption, SVG) pairs of the training, none when nothing was trained."""
    from markupsafe import Markup

    epochs = _data(report, "training.learns").get("epochs") or _data(report, "training.job").get("epochs") or []
    if not epochs:
        return []
    losses = [float(epoch["loss"]) for epoch in epochs]
    accuracies = [float(epoch["accuracy"]) for epoch in epochs]
    return [
        ("Mean training loss by epoch", Markup(curve.svg("Training loss", losses))),
        (
            "Held-out digits recognised by epoch; dashed: the bar of 90%",
            Markup(curve.svg("Held-out accuracy", accuracies, percent=True, floor_line=0.9)),
        ),
    ]


def _shown(folder: Path, path: str) -> Evidence:
    try:
        content = (folder / path).read_bytes()
    except OSError:
        return {"path": path, "size": "missing", "text": "", "cut": False}
    text = content.decode("utf-8", "replace").replace("\x1b", "␛")
    cut = len(text) > _INLINE
    if cut:
        text = text[: _INLINE // 2] + "\n\n[…]\n\n" + text[-_INLINE // 2 :]
    size = f"{len(content)} B" if len(content) < 1024 else f"{len(content) / 1024:.0f} KiB"
    return {"path": path, "size": size, "text": text, "cut": cut}
