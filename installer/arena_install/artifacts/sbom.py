"""The software bill of materials: CycloneDX 1.6, from what the builds themselves say they are made of."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from arena_install import __version__
from arena_install.artifacts.resolved import Resolved, ResolvedFile, ResolvedImage


def cyclonedx(resolved: Resolved) -> dict[str, Any]:
    """One component per artifact and one per part (Go module, Debian package...), with who contains whom."""
    components: dict[str, dict[str, Any]] = {}
    dependencies: dict[str, list[str]] = {}

    def add(kind: str, name: str, row: ResolvedFile | ResolvedImage, sha256: str) -> None:
        ref = f"{kind}:{name}@sha256:{sha256}"
        components[ref] = {
            "type": "container" if kind == "image" else "file" if kind == "chart" else "application",
            "bom-ref": ref,
            "name": name,
            "version": row.version,
            "hashes": [{"alg": "SHA-256", "content": sha256}],
            "properties": [
                {"name": "arena-install:way", "value": row.way},
                {"name": "arena-install:component", "value": row.component},
            ],
            **_licence(row.license),
        }
        inside = []
        for part in _parts(resolved, row):
            purl = _purl(part)
            components.setdefault(
                purl,
                {"type": "library", "bom-ref": purl, "name": part["name"], "version": part["version"], "purl": purl},
            )
            inside.append(purl)
        dependencies[ref] = sorted(set(inside))

    for name, file in sorted(resolved.files.items()):
        add("file", name, file, file.sha256)
    for name, chart in sorted(resolved.charts.items()):
        add("chart", name, chart, chart.sha256)
    for name, image in sorted(resolved.images.items()):
        add("image", name, image, image.manifest.removeprefix("sha256:"))
    # The same artifacts give the same serial number: the bill says what is there, not when it was written.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(sorted(components)))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "arena-install", "version": __version__}]}
        },
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": parts} for ref, parts in sorted(dependencies.items())],
    }


def _parts(resolved: Resolved, row: ResolvedFile | ResolvedImage) -> list[Mapping[str, str]]:
    if not row.parts:
        return []
    parts: list[Mapping[str, str]] = json.loads(resolved.cache.verified(row.parts).read_bytes())
    return parts


def _licence(expression: str) -> dict[str, Any]:
    if not expression:
        return {}
    if " " in expression:
        return {"licenses": [{"expression": expression}]}
    return {"licenses": [{"license": {"id": expression}}]}


def _purl(part: Mapping[str, str]) -> str:
    name, version = quote(part["name"], safe="/"), quote(part["version"], safe="")
    if part["type"] == "deb":
        return f"pkg:deb/debian/{name}@{version}?arch={part['arch']}&distro={part['suite']}"
    return f"pkg:{part['type']}/{name}@{version}"
