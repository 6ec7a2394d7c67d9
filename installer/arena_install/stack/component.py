"""What one component is: the typed content of components/<name>/component.yaml.

A component is a folder: this row, values.yaml.j2 with its Helm values, optionally objects.yaml.j2 with objects of ours
that its chart lacks, and README.md. Adding one touches its folder and the lock, and no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arena_install import fastyaml
from arena_install.errors import ConfigError

PodSecurity = Literal["privileged", "baseline", "restricted"]
Profile = Literal["minimal", "full"]

FILE = "component.yaml"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Namespace(_Row):
    name: str
    pod_security: PodSecurity  # enforced level
    pod_security_warn: PodSecurity | None = None  # warned and audited level; None: the enforced one


class Crds(_Row):
    """CRDs that are applied apart from Helm."""

    file: str  # name in the resolved lock's files
    claims: tuple[str, ...]  # patterns of the names of all CRDs in it
    own: tuple[str, ...] = ()  # of these CRDs, the objects in the component's own namespace are its own, not a user's
    #: CRD of a cluster-scoped kind -> names of the objects that the component makes by itself
    makes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)


class Allocatable(_Row):
    """Every host of a group offers a resource."""

    resource: str
    group: str
    at_least: int = 1


class Ready(_Row):
    """What must hold beside the rule that all workloads of the release are rolled out."""

    webhooks: tuple[str, ...] = ()  # {Validating,Mutating}WebhookConfigurations with a CA and answering endpoints
    dry_run: tuple[dict[str, Any], ...] = ()  # objects whose server-side dry run must reach its webhook
    allocatable: Allocatable | None = None
    objects: tuple[str, ...] = ()  # "apiVersion/Kind/name" of cluster-scoped objects that must exist


class Timeout(_Row):
    """Seconds until a component that is not ready has failed: base + per_node x nodes."""

    base: int = Field(default=180, ge=1)
    per_node: int = Field(default=5, ge=0)

    def seconds(self, nodes: int) -> int:
        return self.base + self.per_node * nodes


class Component(_Row):
    name: str = Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    title: str
    gives: str  # what is there afterwards, one sentence
    needs: tuple[str, ...] = ()  # components that are ready before this one's chart is installed
    namespace: Namespace
    chart: str  # name in the resolved lock's charts; also the release's name
    crds: Crds | None = None
    images: tuple[str, ...]  # references in the lock; what the rendered chart names must be among them
    #: Value of the component's own -> what it may be -> images that only this choice runs.
    choices: Mapping[str, Mapping[str, tuple[str, ...]]] = Field(default_factory=dict)
    profiles: tuple[Profile, ...] = ("minimal", "full")
    #: Not needed in an existing cluster that has what it is for from elsewhere.
    unless: Literal["", "network", "storage"] = ""
    #: workload -> what its pods have beyond Pod Security's baseline, in the words of arena_install.verify.powers
    privileges: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    node_labels: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)  # inventory group -> labels of its nodes
    #: What its pods leave on hosts, as kind|name of roles/ledger/files/observe.sh; goes unless it was there before us.
    leaves: tuple[Annotated[str, Field(pattern=r"^(path\|/.+|link\|[^/|]+)$")], ...] = ()
    #: Whether `arena-install user add` makes things for it, with its name as OWNER_LABEL: they go when it does.
    at_users: bool = False
    ready: Ready = Ready()
    timeout: Timeout = Timeout()
    folder: Path = Path()

    @property
    def all_images(self) -> tuple[str, ...]:
        """What it runs, whatever is chosen."""
        return (*self.images, *(image for rows in self.choices.values() for one in rows.values() for image in one))

    @property
    def release(self) -> str:
        return self.chart

    @property
    def row(self) -> Path:
        return self.folder / FILE

    def where(self, key: str, item: str = "") -> str:
        """file:line of a key of the row, or of one item in its list."""
        return f"{self.row}:{line_of(self.row, key, item)}"


def load(folder: Path) -> Component:
    """Read and check one component folder. Raises ConfigError with file:line."""
    file = folder / FILE
    try:
        data = fastyaml.load(file.read_text())
    except OSError as error:
        raise ConfigError("this component has no row", where=str(file), why=str(error.strerror)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError("not YAML", where=f"{file}:{line}", why=str(error.problem)) from error
    if not isinstance(data, dict):
        raise ConfigError("a component's row is a mapping", where=f"{file}:1", why=f"this is a {type(data).__name__}")
    try:
        component = Component.model_validate({**data, "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        raise ConfigError(
            f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", where=f"{file}:{line_of(file, key)}"
        ) from error
    if component.name != folder.name:
        raise ConfigError(
            f"the row is called {component.name!r}, its folder {folder.name!r}",
            where=component.where("name"),
            fix="give both the same name",
        )
    return component


def line_of(file: Path, key: str, item: str = "") -> int:
    """Line (from 1) of a top-level key in a YAML file, or of a scalar in the list under it; 1 where there is none."""
    line = 1
    for node, value in _top_level(file):
        if node.value == key:
            line = node.start_mark.line + 1
            for part in value.value if isinstance(value, yaml.SequenceNode) else ():
                if getattr(part, "value", None) == item:
                    line = part.start_mark.line + 1
    return line


@cache
def _top_level(file: Path) -> tuple[tuple[Any, Any], ...]:
    root = yaml.compose(file.read_text(), Loader=fastyaml.LOADER)
    return tuple(root.value) if isinstance(root, yaml.MappingNode) else ()
