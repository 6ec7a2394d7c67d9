"""Charts from three sources become the same thing: one reproducible .tgz that Helm installs, and the CRDs beside it.

CRDs are kept apart because Helm never upgrades them and deletes none of them safely; the stack applies them itself.
Upstreams that ship only kustomize manifests get a chart whose single template lays the user's values over them, so
that images, arguments and volumes can be set like those of any other chart, and nothing of theirs is edited as text.
"""

from __future__ import annotations

import fnmatch
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arena_install import fastyaml
from arena_install.errors import ConfigError, StepError

#: Helm ignores these in a chart folder anyway; a checkout's leftovers must not change a digest.
_IGNORED_NAMES = frozenset({".helmignore", ".git", ".gitignore", ".DS_Store"})
_SUFFIXES_IGNORED = (".swp", ".bak", ".tmp", ".orig", "~", ".gotmpl")

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: Lays values over the objects: whole objects are dropped, merged or added; in a pod's containers, lists that name
#: things (args, env, volumeMounts) are added to and everything else is replaced.
_TEMPLATE = """\
{{- $values := .Values }}
{{- range $object := .Files.Get "objects.json" | fromJsonArray }}
{{- $key := printf "%s/%s" $object.kind $object.metadata.name }}
{{- if not (has $key $values.drop) }}
{{- with get $values.objects $key }}
{{- $object = mergeOverwrite $object (deepCopy .) }}
{{- end }}
{{- with get $values.pods $key }}
{{- $change := deepCopy . }}
{{- $pod := $object.spec.template.spec }}
{{- with $change.volumes }}
{{- $_ := set $pod "volumes" (concat (default list $pod.volumes) .) }}
{{- end }}
{{- range $container := $pod.containers }}
{{- $wanted := get (default dict $change.containers) $container.name | default dict }}
{{- range $field := list "args" "env" "volumeMounts" }}
{{- with get $wanted $field }}
{{- $_ := set $container $field (concat (default list (get $container $field)) .) }}
{{- end }}
{{- end }}
{{- $_ := mergeOverwrite $container (omit $wanted "args" "env" "volumeMounts") }}
{{- end }}
{{- $_ := mergeOverwrite $pod (omit $change "volumes" "containers") }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- range .Values.extra }}
---
{{ toYaml . }}
{{- end }}
"""

_VALUES = """\
# "Kind/name" of objects to leave out
drop: []
# "Kind/name": partial object, merged over the shipped one
objects: {}
# "Kind/name" of a workload: partial pod spec; volumes, and args, env and volumeMounts of `containers.<name>`, are added
pods: {}
# whole objects to add
extra: []
"""


@dataclass(frozen=True)
class PackedChart:
    """A chart archive and its CRDs; crds is one YAML stream (a JSON object a document), empty if there are none."""

    name: str
    version: str
    tgz: bytes
    crds: bytes


def pack_chart(
    folder: Path, *, version: str = "", drop: Sequence[str] = (), crds: Iterable[Mapping[str, Any]] = ()
) -> PackedChart:
    """Archive a chart folder (with Chart.yaml in it) the same way every time: sorted names, no times, no owners.

    version replaces the one in Chart.yaml when given (a leading "v" is dropped: Helm wants plain semver). drop: globs
    of files that are left out, such as templates that render CRDs. crds: those that the chart has elsewhere than in
    crds/. Raises ConfigError where the folder is no chart, or a glob names nothing (upstream has moved it).
    """
    file = folder / "Chart.yaml"
    if not file.is_file():
        raise ConfigError("this folder holds no Helm chart", where=str(folder), why="Chart.yaml is missing")
    metadata = _load_metadata(file)
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}
    for pattern in drop:
        if not (found := fnmatch.filter(content, pattern)):
            raise ConfigError("the chart has no file that is to be dropped", where=str(folder), why=pattern)
        for name in found:
            del content[name]
    if version and metadata["version"] != version.removeprefix("v"):
        metadata["version"] = version.removeprefix("v")
        content["Chart.yaml"] = yaml.dump(metadata, Dumper=_DUMPER, sort_keys=True).encode()
    own = list(crds)
    for name, data in sorted(content.items()):
        if name.startswith("crds/") and name.endswith((".yaml", ".yml", ".json")):
            own += list(fastyaml.load_all(data))
    name = metadata["name"]
    return PackedChart(name, str(metadata["version"]), _archive(name, content), dump_stream(own))


def crds_in(folder: Path, *, kubectl: Path) -> list[dict[str, Any]]:
    """The CRDs in a folder: what its kustomization builds, or what is in its YAML files. Raises ConfigError if none."""
    if (folder / "kustomization.yaml").is_file():
        documents = list(_kustomize(folder, kubectl))
    else:
        documents = [row for file in sorted(folder.glob("*.yaml")) for row in fastyaml.load_all(file.read_bytes())]
    found = [row for row in documents if row and row.get("kind") == "CustomResourceDefinition"]
    if not found:
        raise ConfigError("this folder holds no CRDs", where=str(folder))
    return found


def wrap_kustomize(
    folder: Path,
    name: str,
    version: str,
    *,
    kubectl: Path,
    drop_crds: Collection[str] = (),
    description: str = "",
) -> PackedChart:
    """Build a kustomization (`kubectl kustomize`) and wrap what comes out into a chart of ours.

    Namespaces are left out (the stack makes them, with their Pod Security labels), CRDs are split off, and those named
    in drop_crds are gone altogether. The chart's values are described by its own values.yaml. Raises StepError with
    kubectl's words when the kustomization does not build.
    """
    objects: list[dict[str, Any]] = []
    crds: list[dict[str, Any]] = []
    for document in _kustomize(folder, kubectl):
        kind = document.get("kind")
        if kind == "CustomResourceDefinition":
            if document["metadata"]["name"] not in drop_crds:
                crds.append(document)
        elif kind != "Namespace":
            objects.append(document)
    return wrap_objects(objects, name, version, crds=crds, description=description)


def wrap_objects(
    objects: Iterable[Mapping[str, Any]],
    name: str,
    version: str,
    *,
    crds: Iterable[Mapping[str, Any]] = (),
    description: str = "",
) -> PackedChart:
    """A chart around ready objects; see wrap_kustomize."""
    plain = version.removeprefix("v")
    metadata = {
        "apiVersion": "v2",
        "name": name,
        "version": plain,
        "appVersion": plain,
        "type": "application",
        "description": description or f"The manifests of {name} {version} with values laid over them",
    }
    content = {
        "Chart.yaml": yaml.dump(metadata, Dumper=_DUMPER, sort_keys=True).encode(),
        "values.yaml": _VALUES.encode(),
        "objects.json": json.dumps(list(objects), sort_keys=True).encode(),
        "templates/objects.yaml": _TEMPLATE.encode(),
    }
    return PackedChart(name, plain, _archive(name, content), dump_stream(crds))


def dump_stream(documents: Iterable[Mapping[str, Any]]) -> bytes:
    """Objects as one YAML stream with each document on a line of JSON: read fast, and any YAML reader takes it."""
    return b"".join(b"---\n" + json.dumps(document, sort_keys=True).encode() + b"\n" for document in documents)


def load_stream(data: bytes) -> list[dict[str, Any]]:
    """Objects of a YAML stream; quick where dump_stream wrote it, right for any other."""
    documents: list[dict[str, Any]] = []
    for part in data.split(b"\n---\n") if data.startswith(b"---\n{") else [data]:
        text = part.removeprefix(b"---\n")
        try:
            documents.append(json.loads(text))
        except ValueError:
            documents += list(fastyaml.load_all(text))
    return [document for document in documents if isinstance(document, dict)]


def _kustomize(folder: Path, kubectl: Path) -> Iterator[dict[str, Any]]:
    # Run inside the folder: a path with a host name in it (the Go module cache is full of them) is taken for a URL.
    # A minimal environment: no kubeconfig and no plugin of the user's has a say in what is built.
    try:
        done = subprocess.run(
            [str(kubectl.absolute()), "kustomize", "."],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            capture_output=True,
            timeout=120,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = getattr(error, "stderr", None)
        raise StepError(
            "the kustomization does not build",
            where=str(folder),
            why=why.decode(errors="replace") if why else str(error),
            fix=f"run `kubectl kustomize {folder}` for the whole output",
        ) from error
    yield from fastyaml.load_all(done.stdout)


def _load_metadata(file: Path) -> dict[str, Any]:
    try:
        metadata = fastyaml.load(file.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigError("Chart.yaml is not YAML", where=str(file), why=str(error)) from error
    if not isinstance(metadata, dict) or not {"name", "version"} <= metadata.keys():
        raise ConfigError("Chart.yaml names no chart", where=str(file), why="it needs name and version")
    return metadata


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in _IGNORED_NAMES
        and not path.name.endswith(_SUFFIXES_IGNORED)
        and ".git" not in path.relative_to(folder).parts
    ]


def _archive(name: str, content: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        # Helm wants Chart.yaml readable early; it reads all in any order, but sorted means the same digest every time.
        for path, data in sorted(content.items()):
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode, info.mtime = len(data), 0o644, 0
            tar.addfile(info, io.BytesIO(data))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
        file.write(raw.getvalue())
    return packed.getvalue()
