"""From the configuration to what Helm is given, and the digest that says whether anything differs.

Templates see the Config and the Cluster and nothing else: no clock, no environment, no cluster state, so that the same
wish always renders to the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from arena_install import fastyaml
from arena_install.artifacts.charts import load_stream
from arena_install.errors import ConfigError, StepError
from arena_install.inventory.cluster import Cluster
from arena_install.stack.component import Component
from arena_install.stack.graph import Catalogue, catalogue, order

VALUES, OBJECTS = "values.yaml.j2", "objects.yaml.j2"
SCHEMA = "values.schema.yaml"  # JSON schema of what users may set

#: Part of every digest: raise it when the same wish must be applied in another way.
RECIPE = 1


class Resolved(Protocol):
    """What the stack needs of the resolved lock."""

    def file(self, name: str) -> Path: ...

    def program(self, name: str) -> Path: ...

    def chart(self, name: str) -> Path: ...


@dataclass(frozen=True)
class Wish:
    """What is wanted of a component, as far as it is known before anything is built. digest: sha256 of all that decides
    what the component becomes; it is what the ledger records and the plan compares."""

    component: Component
    values: dict[str, Any]
    objects: tuple[dict[str, Any], ...]  # ours, applied server-side before the chart
    node_labels: Mapping[str, Mapping[str, str]]  # host name -> labels
    digest: str


@dataclass(frozen=True)
class Inputs:
    """A wish with the artifacts that it needs."""

    wish: Wish
    chart: Path  # .tgz
    chart_version: str
    crds: tuple[dict[str, Any], ...]


def wish_of(component: Component, cluster: Cluster, digest_of: Callable[[str], str]) -> Wish:
    """Render a component. digest_of: name in the lock -> digest of how its bytes are made, so that an image whose
    recipe changed under the same tag counts. Raises ConfigError for a bad template."""
    values, objects = values_of(component, cluster), objects_of(component, cluster)
    labels = {
        host.name: dict(wanted)
        for group, wanted in component.node_labels.items()
        for host in cluster.group(group)
    }
    names = {component.chart, *images_of(component, values), *([component.crds.file] if component.crds else [])}
    content = {
        "recipe": RECIPE,
        "release": component.release,
        "namespace": component.namespace.model_dump(),
        "values": values,
        "objects": objects,
        "node_labels": labels,
        "lock": {name: digest_of(name) for name in sorted(names)},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Wish(component, values, objects, labels, digest)


def images_of(component: Component, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that a component with these values runs. Raises ConfigError for a choice that there is not."""
    found = list(component.images)
    for key, rows in component.choices.items():
        if (chosen := values.get(key)) not in rows:
            raise ConfigError(
                f"values.{component.name}.{key}: {chosen!r} is not one of {', '.join(rows)}",
                where="values in cluster.yaml",
                fix=f"see {component.folder / 'README.md'}",
            )
        found += rows[str(chosen)]
    return tuple(found)


def artifacts_of(names: Iterable[str], cluster: Cluster, rows: Catalogue | None = None) -> frozenset[str]:
    """Names in the lock that these components use in this cluster: image references, charts, files; and helm, which
    installs them."""
    rows = catalogue() if rows is None else rows
    chosen = [rows[name] for name in order(names, rows)]
    found = {"helm"} if chosen else set()
    for row in chosen:
        found |= {row.chart, *images_of(row, values_of(row, cluster) if row.choices else {})}
        if row.crds:
            found.add(row.crds.file)
    return frozenset(found)


def inputs_of(wish: Wish, resolved: Resolved) -> Inputs:
    """Read a wish's artifacts. Raises StepError for one that is not in the cache."""
    component = wish.component
    chart = resolved.chart(component.chart)
    crd_bytes = _read(resolved.file(component.crds.file), component) if component.crds else b""
    return Inputs(wish, chart, _chart_version(_read(chart, component), chart), tuple(load_stream(crd_bytes)))


def values_of(component: Component, cluster: Cluster) -> dict[str, Any]:
    """The component's Helm values with the user's own (`values:` in cluster.yaml) laid over them."""
    documents = _documents(component, VALUES, cluster)
    values = documents[0] if documents else {}
    own = cluster.config.values.get(component.name, {})
    if own:
        _check(component, own)
    return merge(values, own)


def objects_of(component: Component, cluster: Cluster) -> tuple[dict[str, Any], ...]:
    """The component's own objects, beside its chart."""
    return tuple(_documents(component, OBJECTS, cluster))


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of mappings; anything else in `over` replaces. A null stays: Helm then drops the chart's default."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _check(component: Component, own: Mapping[str, Any]) -> None:
    """Hold the user's own values against the component's schema, if it has one. Raises ConfigError with the path."""
    file = component.folder / SCHEMA
    if not file.is_file():
        return
    import jsonschema

    validator = jsonschema.Draft202012Validator(fastyaml.load(file.read_bytes()))
    error = jsonschema.exceptions.best_match(validator.iter_errors(own))
    if error is None:
        return
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    known = sorted(error.schema.get("properties") or {}) if error.validator == "additionalProperties" else []
    raise ConfigError(
        f"values.{component.name}{path}: {error.message}",
        where="values in cluster.yaml",
        why=str(error.schema.get("description", "")),
        fix=f"known here: {', '.join(known)}" if known else f"see {component.folder / 'README.md'}",
    )


def _documents(component: Component, name: str, cluster: Cluster) -> list[dict[str, Any]]:
    import jinja2

    file = component.folder / name
    if not file.is_file():
        return []
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["yaml"] = lambda value: json.dumps(value, default=str)  # JSON is YAML, quoted rightly
    context = {"config": cluster.config, "cluster": cluster, "component": component}
    try:
        text = environment.from_string(file.read_text()).render(context)
        return list(fastyaml.load_all(text))
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError("the template is broken", where=f"{file}:{error.lineno}", why=str(error.message)) from error
    except jinja2.UndefinedError as error:
        raise ConfigError(
            "the template asks for what is not there", where=f"{file}:{_line(error, file)}", why=str(error.message)
        ) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            "what the template renders is not YAML", where=f"{file} (rendered line {line})", why=str(error.problem)
        ) from error


def _line(error: BaseException, file: Path) -> int:
    """Line of a template at which rendering failed: jinja2 puts it into the traceback."""
    line, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _chart_version(archive: bytes, path: Path) -> str:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for member in tar:
                top = member.name.count("/") == 1 and member.name.endswith("/Chart.yaml")
                if top and (file := tar.extractfile(member)):
                    return str(fastyaml.load(file.read())["version"])
    except (tarfile.TarError, OSError, yaml.YAMLError, KeyError, TypeError):
        pass
    raise StepError("this is no packed chart", where=str(path), fix="delete the file and run `arena-install up` again")


def _read(path: Path, component: Component) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StepError(
            f"an artifact of {component.name} is not in the cache",
            where=str(path),
            why=str(error.strerror),
            fix="run `arena-install up` again: it fetches what is missing",
        ) from error
