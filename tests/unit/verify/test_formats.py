"""The same report in every format: valid, self-contained, telling one story."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from arena_install.verify import Report, formats
from arena_install.verify.formats import ctrf, curve, html, junit, manifest
from arena_install.verify.formats.terminal import render as render_terminal


@pytest.fixture
def folder(report: Report, tmp_path: Path) -> Path:
    """The report written out, with one evidence file."""
    file = tmp_path / "out/evidence/cluster.api/readyz.txt"
    file.parent.mkdir(parents=True)
    file.write_text("[+]ping ok\n[+]etcd ok <b>&\n")
    formats.write(report, tmp_path / "out")
    return tmp_path / "out"


def test_everything_is_written(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "MANIFEST.sha256",
        "ctrf.json",
        "evidence",
        "junit.xml",
        "report.html",
    ]


def test_ctrf_is_valid(folder: Path, report: Report) -> None:
    document = json.loads((folder / "ctrf.json").read_text())
    assert ctrf.problems(document) == []
    summary = document["results"]["summary"]
    assert (summary["tests"], summary["passed"], summary["failed"], summary["skipped"]) == (7, 3, 2, 2)
    assert summary["stop"] - summary["start"] == 83_500
    assert document["extra"]["exitCode"] == report.exit_code == 1
    by_name = {test["name"]: test for test in document["results"]["tests"]}
    assert by_name["gpu.capacity"]["status"] == "failed"
    assert by_name["gpu.capacity"]["rawStatus"] == "error"
    assert by_name["gpu.labels"]["extra"]["required"] is False
    assert by_name["cluster.api"]["attachments"][0]["path"] == "evidence/cluster.api/readyz.txt"
    assert by_name["cluster.dns"]["message"].startswith("lookups")
    assert document == json.loads(json.dumps(report.ctrf()))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("reportFormat"), "reportFormat"),
        (lambda d: d.update(specVersion="1"), "specVersion"),
        (lambda d: d["results"]["tool"].pop("name"), "tool.name"),
        (lambda d: d["results"]["summary"].pop("pending"), "summary.pending"),
        (lambda d: d["results"]["summary"].update(passed=9), "does not count"),
        (lambda d: d["results"]["tests"][0].update(status="pass"), "status is 'pass'"),
        (lambda d: d["results"]["tests"][0].update(duration=1.5), "duration"),
    ],
)
def test_ctrf_validation_finds_what_is_wrong(report: Report, change: object, complaint: str) -> None:
    document = ctrf.document(report)
    change(document)  # type: ignore[operator]
    assert any(complaint in problem for problem in ctrf.problems(document))


def test_junit_counts_a_required_skip_as_a_failure(folder: Path) -> None:
    root = ElementTree.fromstring((folder / "junit.xml").read_text())
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("7", "2", "1", "1")
    assert [suite.get("name") for suite in root] == ["cluster", "gpu", "training"]
    cases = {case.get("name", "").split(":")[0]: case for case in root.iter("testcase")}
    failure = cases["cluster.network"].find("failure")
    assert failure is not None and failure.get("type") == "required-skip"
    assert cases["gpu.labels"].find("skipped") is not None
    text = cases["cluster.dns"].findtext("failure") or ""
    assert text.startswith("cause: lookups <script>")
    assert text.rstrip().endswith("fix: kubectl -n kube-system get pods")


class Page(HTMLParser):
    """Collects what a page would load, and checks that its elements are closed in order."""

    VOID = frozenset({"meta", "br", "line", "circle", "polyline", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_the_page_loads_nothing_and_runs_nothing(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert all(address.startswith("evidence/") for address in page.addresses)
    assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "GPU: simulated, compute: CPU" in text
    assert "[+]etcd ok &lt;b&gt;&amp;" in text, "evidence is on the page"


def test_the_page_shows_the_training_curve(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert text.count("<polyline") == 2
    assert "94.3%" in text
    assert "mnist-worker-0" in text


def test_long_evidence_is_cut_and_linked(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "cluster.api/readyz.txt"
    file.parent.mkdir()
    file.write_text("head" + "x" * 100_000 + "tail")
    text = html.page(report, tmp_path)
    assert len(text) < 60_000
    assert "tail" in text and 'href="evidence/cluster.api/readyz.txt"' in text


def test_the_manifest_matches_and_notices_changes(folder: Path) -> None:
    lines = (folder / "MANIFEST.sha256").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert manifest.differences(folder) == []
    (folder / "ctrf.json").write_text("{}")
    (folder / "evidence/new").write_text("")
    (folder / "junit.xml").unlink()
    assert manifest.differences(folder) == [
        "junit.xml is missing",
        "evidence/new is not listed",
        "ctrf.json has changed",
    ]


def test_the_terminal_puts_the_cause_first_and_the_fix_last(report: Report) -> None:
    console = Console(width=110, record=True, force_terminal=False)
    with console.capture() as capture:
        render_terminal(report, console, Path("/reports/x"))
    text = capture.get()
    assert "GPU: simulated, compute: CPU" in text.splitlines()[1]
    block = text[text.index("✗ Title of cluster.dns") :]
    words = re.findall(r"^ {4}(\w+)", block, re.MULTILINE)
    assert words[:4] == ["cause", "expected", "observed", "fix"]
    assert "– not run, because of these: cluster.network" in text
    assert "Title of cluster.network" not in text
    assert "\x1b" not in text
    assert "failed: 3 of 7 checks passed, 1 failed, 1 could not be run, 2 skipped in 1m23s" in text
    assert "/reports/x/report.html" in text
    assert "Title of gpu.labels" not in text, "a skip that was allowed is no problem to explain"


def test_a_curve_stays_inside_its_picture() -> None:
    for values in ([1.1, 0.4, 0.2], [0.0], [5.0, 5.0], [0.0003, 0.0001], [120.0, 80.0]):
        drawn = curve.svg("Loss", values)
        root = ElementTree.fromstring(drawn)
        heights = [float(point.get("cy", "-1")) for point in root.iter("circle")]
        assert len(heights) == len(values)
        assert all(0 <= height <= curve.HEIGHT for height in heights)
        ticks = [node for node in root.iter("text") if node.get("text-anchor") == "end"]
        assert 2 <= len(ticks) <= 9
    assert curve.svg("Loss", []) == ""


def test_junit_holds_no_character_that_xml_forbids(report: Report) -> None:
    assert "\x1b" not in junit.document(report)
