"""A Report on paper: one self-contained HTML page, CTRF JSON, JUnit XML, and checksums over them and the evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from arena_install.verify.formats import ctrf, html, junit, manifest

if TYPE_CHECKING:
    from arena_install.verify.model import Report


def write(report: Report, out: Path) -> dict[str, Path]:
    """Write every format into `out`, where evidence/ already lies. Gives the path of each format by name."""
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = {
        "html": (out / "report.html", html.page(report, out / "evidence")),
        "ctrf": (out / "ctrf.json", json.dumps(ctrf.document(report), indent=2) + "\n"),
        "junit": (out / "junit.xml", junit.document(report)),
    }
    for path, content in made.values():
        path.write_text(content, encoding="utf-8")
    return {name: path for name, (path, _) in made.items()} | {"manifest": manifest.write(out)}
