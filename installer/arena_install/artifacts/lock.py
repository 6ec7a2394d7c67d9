"""components.lock.yaml: every version once, and how each file, image and chart of it is had by each way.

A component states its version; `{version}`, `{bare}` (without a leading v) and `{arch}` in its strings stand for it.
What a name's bytes depend on is hashed into its input digest, which is known without building anything: the cache
is asked by it, and the plan compares it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from arena_install import paths
from arena_install.artifacts import program
from arena_install.errors import ArenaError, ConfigError, ErrorGroup
from arena_install.inventory import yamlfile

#: Part of every input digest: raise it when the same lock entry must give other bytes.
RECIPE = 1

#: The root file system that single files (certificates, catatonit) are picked from.
STATIC_FROM = "base"

#: What references of images begin with that nobody but us publishes: they are always built.
OWN = "arena-install.local/"

#: Fields that count in a digest only where they are set: they are younger than the recipe, and where they are not used,
#: clusters must not see another chart, program or image.
_YOUNG = frozenset({"drop", "crds_from", "wheels", "pythons", "strip", "package", "ours", "tags", "unbuildable"})

#: Where a file can come from.
_SOURCES = ("go", "pypi", "wheel", "npm", "make", "ours", "package", "wheels")

_EXACT = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)*")  # of a Python distribution, by PEP 440
_FLOATING = re.compile(r"(^|[:@/])(latest|master|main|nightly|stable)$")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Release(_Part):
    """Upstream's own bytes. url or image; member: path inside the archive, one entry per nested archive."""

    url: str = Field(default="", pattern=r"^(https://\S+)?$")
    checksums: str = Field(default="", pattern=r"^(https://\S+)?$")  # file of upstream's that names the sha256
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")  # only if computed from upstream's own bytes
    member: list[str] = []
    image: str = ""  # upstream's reference where it is not ours
    version: str = ""  # where it differs from what the build way gives


class File(_Part):
    """One file for hosts or controller, or a part of images. Exactly one of go, pypi, wheel, npm, make, ours,
    package and wheels, but a package has its wheels beside it."""

    go: str = ""  # main package
    cgo: bool = False
    tags: list[str] = []  # Go build tags
    pypi: str = ""  # distribution with a ready executable, named by member
    wheel: str = ""  # distribution whose modules are packed into a tar
    wheels: dict[str, str] = {}  # distribution -> version: modules of all of them, packed into one tar
    pythons: list[Annotated[str, Field(pattern=r"^3\.\d+$")]] = []  # that import `wheels`, not the controller's own
    drop: list[str] = []  # of `wheels`: globs of files that are left out
    strip: list[str] = []  # of `wheels`: globs of libraries whose symbol tables are left out
    npm: str = ""  # package whose data is converted (see converters.py)
    make: str = ""  # folder of ours, built by `make`
    package: str = ""  # Python package of ours, packed with the wheels that it needs (see program.py)
    ours: list[str] = []  # globs of this program's own files, packed side by side into a tar
    member: str = ""
    release: Release | None = None

    @model_validator(mode="after")
    def _one_source(self) -> File:
        given = [name for name in _SOURCES if getattr(self, name) and not (name == "wheels" and self.package)]
        if len(given) != 1:
            raise ValueError(f"a file comes from exactly one of {', '.join(_SOURCES)}; got {given or 'none'}")
        if bool(self.wheels) != bool(self.pythons):
            raise ValueError("wheels and pythons go together: which wheel is taken depends on the Python")
        if (self.drop or self.strip) and (self.package or not self.wheels):
            raise ValueError("drop and strip are for what wheels alone bring")
        if loose := [f"{name} {version}" for name, version in self.wheels.items() if not _EXACT.fullmatch(version)]:
            raise ValueError(f"wheels need one exact version each: {', '.join(loose)}")
        return self

    @property
    def kind(self) -> str:
        return next(name for name in _SOURCES if getattr(self, name))


class Image(_Part):
    """How an image is assembled; the reference is the key."""

    #: Or "static" (see oci.static_base), a root file system under debian.rootfs, another image, whose layers it shares.
    base: str = "scratch"
    copy_: dict[str, str] = Field(default={}, alias="copy")  # path in the image -> name of a file
    unpack: dict[str, str] = {}  # folder in the image -> name of a file that is a tar
    debian: dict[str, str] = {}  # path in the image -> path in the root file system `base`
    links: dict[str, str] = {}  # path in the image -> symlink target
    text: dict[str, str] = {}  # path in the image -> content
    user: str = ""
    entrypoint: list[str] = []
    command: list[str] = []
    env: dict[str, str] = {}
    release: Release | None = None
    unbuildable: str = ""  # why it can't be had by the way `build`: then only upstream's own can be used


class Chart(_Part):
    """folder: ours, relative to the checkout; else path in the Go module folder (or in the release archive)."""

    folder: str = ""
    go: str = ""  # Go module that carries the chart
    path: str = ""
    kustomize: bool = False
    drop: list[str] = []  # globs of files of the chart that are left out
    drop_crds: list[str] = []
    crds: bool = False  # whether "<name>-crds" exists
    #: Where its CRDs are if not in crds/: folders of YAML or kustomizations, relative to the module (or archive).
    crds_from: list[str] = []
    release: Release | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Chart:
        if bool(self.folder) == bool(self.go):
            raise ValueError("a chart comes from either folder or go")
        if self.go and not self.path:
            raise ValueError("path is missing: where in the Go module the chart is")
        if self.crds_from and (self.folder or self.kustomize or not self.crds):
            raise ValueError("crds_from is for charts of Go modules that have CRDs (crds: true) and no kustomization")
        if self.drop and self.kustomize:
            raise ValueError("drop is for files of a chart; values.yaml.j2 can leave objects of a kustomization out")
        return self


class Component(_Part):
    version: str
    license: str = Field(min_length=2)  # SPDX expression
    source: str = Field(pattern=r"^https://\S+$")
    module: str = ""  # Go module of ours that builds it: a key of go.modules
    requires: dict[str, str] = {}  # Go module (k8s.io/{a,b} is spelled out) -> version
    stamps: dict[str, str] = {}  # Go variable -> value, set by the linker
    files: dict[str, File] = {}
    images: dict[str, Image] = {}
    charts: dict[str, Chart] = {}

    @model_validator(mode="after")
    def _pinned(self) -> Component:
        if _FLOATING.search(self.version):
            raise ValueError(f"{self.version} is no version: it names other bytes every day")
        for reference in self.images:
            name, colon, tag = reference.rpartition(":")
            if not colon or "/" in tag or _FLOATING.search(tag):
                raise ValueError(f"image {reference} needs a tag that stands still")
            if "/" not in name:
                raise ValueError(f"image {reference} must be written with its registry")
        return self


class Module(_Part):
    """A Go module of ours. extends: another one whose requirements it has too, so that what both compile is compiled
    once, while the other one's programs do not depend on what this one adds."""

    what: str
    extends: str = ""


class Go(_Part):
    minimum: str = Field(pattern=r"^1\.\d+(\.\d+)?$")  # language version of our modules; the toolchain must reach it
    toolchain: str = Field(pattern=r"^1\.\d+\.\d+$")  # fetched where the controller has none
    modules: dict[str, Module]  # name -> what it is for; the text alone stands for a module that extends none

    @field_validator("modules", mode="before")
    @classmethod
    def _text_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"what": row} if isinstance(row, str) else row for name, row in value.items()}


class Rootfs(_Part):
    packages: list[str]
    drop: list[str] = []  # globs of paths that the image does not need


class Debian(_Part):
    suite: str
    rootfs: dict[str, Rootfs]


class _Document(_Part):
    schema_: Literal[1] = Field(alias="schema")
    arch: Literal["amd64"]
    go: Go
    debian: Debian
    components: dict[str, Component]

    def disagreements(self) -> list[tuple[tuple[str, ...], str]]:
        """What only the whole can tell: key path and text of every name that stands twice, or for nothing."""
        found: list[tuple[tuple[str, ...], str]] = []
        seen: dict[str, str] = {}
        for name, module in self.go.modules.items():
            base = self.go.modules.get(module.extends)
            if module.extends and (base is None or base.extends):
                text = "extends itself another one" if base else "is not there"
                found.append((("go", "modules", name, "extends"), f"module {module.extends} {text}"))
        for name, component in self.components.items():
            if component.module and component.module not in self.go.modules:
                found.append((("components", name, "module"), f"go.modules has no {component.module}"))
            for table in ("files", "images", "charts"):
                for item in getattr(component, table):
                    if item in seen:
                        text = f"{item} names two things: one in {seen[item]} and one in {name}"
                        found.append((("components", name, table, item), text))
                    seen[item] = name
        images = {key: image for component in self.components.values() for key, image in component.images.items()}
        for name, component in self.components.items():
            for reference, image in component.images.items():
                where = ("components", name, "images", reference)
                if (below := images.get(image.base)) is not None:
                    if below.base in images or not image.base.startswith(OWN):
                        found.append(
                            ((*where, "base"), f"{image.base} is no image to build on: one of ours, on no other")
                        )
                elif image.base not in ("scratch", "static", *self.debian.rootfs):
                    found.append(((*where, "base"), f"neither debian.rootfs nor an image is called {image.base}"))
                for table, parts in (("copy", image.copy_), ("unpack", image.unpack)):
                    for path, part in parts.items():
                        if part not in seen:
                            found.append(((*where, table, path), f"no component has a file {part}"))
        return found


Kind = Literal["file", "image", "chart", "crds"]


@dataclass(frozen=True)
class Item:
    """One thing that can be asked for. name: file name, full image reference, or chart name ("-crds" for its CRDs)."""

    kind: Kind
    name: str
    component: str
    spec: File | Image | Chart

    @property
    def release(self) -> Release | None:
        return self.spec.release


class Lock:
    """The lock, read and checked; immutable."""

    def __init__(self, document: _Document, path: Path) -> None:
        self.path = path
        self.arch = document.arch
        self.go = document.go
        self.debian = document.debian
        self.components: Mapping[str, Component] = document.components
        self._digests: dict[str, str] = {}

    @classmethod
    def load(cls, path: Path) -> Lock:
        """Raises ConfigError (an ErrorGroup for several) with file:line of each mistake."""
        source = yamlfile.read(path, "the lock")
        if source.errors:
            raise source.errors[0] if len(source.errors) == 1 else ErrorGroup(source.errors)
        if not isinstance(source.data, dict):
            raise ConfigError("the lock must be one mapping", where=f"{path}:1")
        data, renamed = _expand(source.data)
        problems: list[tuple[tuple[str | int, ...], str]] = []
        document: _Document | None = None
        try:
            document = _Document.model_validate(data)
            problems += document.disagreements()
        except ValidationError as error:
            problems += [(one["loc"], one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        errors: list[ArenaError] = []
        for loc, text in problems:
            written = tuple(renamed.get(part, part) if isinstance(part, str) else part for part in loc)
            spoken = ".".join(str(part) for part in loc)
            errors.append(ConfigError(f"{spoken}: {text}", where=str(source.source(written))))
        if errors or document is None:
            raise errors[0] if len(errors) == 1 else ErrorGroup(errors)
        return cls(document, path)

    @cached_property
    def _items(self) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for name, component in self.components.items():
            for key, file in component.files.items():
                items[key] = Item("file", key, name, file)
            for key, image in component.images.items():
                items[key] = Item("image", key, name, image)
            for key, chart in component.charts.items():
                items[key] = Item("chart", key, name, chart)
                if chart.crds:
                    items[f"{key}-crds"] = Item("crds", f"{key}-crds", name, chart)
        return items

    @cached_property
    def _untagged(self) -> dict[str, str]:
        return {key.rpartition(":")[0]: key for key, item in self._items.items() if item.kind == "image"}

    def names(self) -> tuple[str, ...]:
        """Every name that can be asked for: files (parts of images among them), images with tags, charts, CRDs."""
        return tuple(self._items)

    def images(self) -> tuple[str, ...]:
        return tuple(key for key, item in self._items.items() if item.kind == "image")

    def find(self, name: str) -> Item:
        """What a name stands for; an image with or without its tag. Raises ConfigError for a name the lock lacks."""
        item = self._items.get(self._untagged.get(name, name))
        if item is None:
            raise ConfigError(f"the lock has no file, image or chart named {name}", where=str(self.path))
        return item

    def version(self, item: Item) -> str:
        return self.components[item.component].version

    def digest(self, name: str) -> str:
        """Input digest (hex sha256) of a name: changes whenever the bytes could, and is found without building.

        An image is found with or without its tag. Raises ConfigError for an unknown name.
        """
        return self.input_digest(self.find(name))

    def input_digest(self, item: Item) -> str:
        if item.name not in self._digests:
            self._digests[item.name] = self._input_digest(item)
        return self._digests[item.name]

    def _input_digest(self, item: Item) -> str:
        component = self.components[item.component]
        content: dict[str, Any] = {
            "recipe": RECIPE,
            "kind": item.kind,
            "version": component.version,
            "arch": self.arch,
            "spec": item.spec.model_dump(mode="json", by_alias=True),
        }
        spec = item.spec
        content["spec"] = {key: row for key, row in content["spec"].items() if row or key not in _YOUNG}
        if isinstance(spec, File) and spec.go:
            content["go"] = [
                self.go.minimum,
                self.requirements(component.module),
                dict(sorted(component.stamps.items())),
            ]
        elif isinstance(spec, File) and spec.make:
            content["sources"] = tree_digest(paths.data_dir() / spec.make)
        elif isinstance(spec, File) and spec.package:
            content["sources"] = program.digest(spec.package, self.own_charts())
        elif isinstance(spec, File) and spec.ours:
            content["sources"] = {path.name: _hash_of(path) for path in own_files(spec.ours)}
        elif isinstance(spec, Image):
            names = sorted({*spec.copy_.values(), *spec.unpack.values()})
            content["parts"] = {name: self.digest(name) for name in names}
            content["rootfs"] = {name: self.rootfs_digest(name) for name in self.rootfs_of(spec)}
            if (below := self.below(spec)) is not None:
                content["base"] = self.input_digest(below)
            content.pop("version")  # the reference says which one it is; what is inside is in the parts
            content["reference"] = item.name
        elif isinstance(spec, Chart):
            if spec.folder:
                content["sources"] = tree_digest(paths.data_dir() / spec.folder)
            else:
                content["go"] = [spec.go, component.requires.get(spec.go, component.version)]
        return _hash(content)

    def own_charts(self) -> frozenset[str]:
        """Folders of charts that components install: the others are those of the arena command."""
        rows = (chart for component in self.components.values() for chart in component.charts.values())
        return frozenset(chart.folder for chart in rows if chart.folder)

    def rootfs_of(self, image: Image) -> tuple[str, ...]:
        """Root file systems that an image takes something from: STATIC_FROM serves static and picked files."""
        own = (image.base,) if image.base in self.debian.rootfs else ()
        picked = (STATIC_FROM,) if image.base == "static" or image.debian else ()
        return tuple(sorted({*own, *picked}))

    def below(self, image: Image) -> Item | None:
        """The image whose layers it begins with, None where there is none."""
        item = self._items.get(image.base)
        return item if item is not None and item.kind == "image" else None

    def rootfs_digest(self, name: str) -> str:
        rootfs = self.debian.rootfs[name].model_dump(mode="json")
        return _hash({"recipe": RECIPE, "suite": self.debian.suite, "arch": self.arch, "rootfs": rootfs})

    def requirements(self, module: str) -> dict[str, str]:
        """Go module path -> version: what one of our Go modules requires, out of every component that it builds and of
        those of the module that it extends.

        Raises ConfigError where two components want different versions of one module.
        """
        wanted: dict[str, tuple[str, str]] = {}
        modules = {module, row.extends} if (row := self.go.modules.get(module)) else {module}
        for name, component in self.components.items():
            if not component.module or component.module not in modules:
                continue
            for path, version in component.requires.items():
                for one in _spell_out(path):
                    other, by = wanted.setdefault(one, (version, name))
                    if other != version:
                        raise ConfigError(
                            f"{one} is wanted as {other} by {by} and as {version} by {name}",
                            where=str(self.path),
                            why=f"both are built in the Go module {module}",
                            fix="agree on one version, or give one of them a Go module of its own",
                        )
        return {path: version for path, (version, _) in sorted(wanted.items())}


def load_lock(path: Path | None = None) -> Lock:
    """The lock that ships with the program, or another one. Raises ConfigError with file:line."""
    return Lock.load(path or paths.lock_file())


def tree_digest(folder: Path) -> str:
    """sha256 over names, modes and contents of a folder's files, hidden ones and build outputs left out.

    Raises ConfigError if there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            "a folder that the lock names is missing", where=str(folder), fix="restore it from the release"
        )
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = file.relative_to(folder)
        if any(part.startswith(".") or part in ("__pycache__", "build") for part in relative.parts):
            continue
        digest.update(f"{relative.as_posix()}\0{file.stat().st_mode & 0o111:o}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def own_files(globs: Iterable[str]) -> tuple[Path, ...]:
    """The program's own files that these globs name, below its package. Raises ConfigError where one names none."""
    found: list[Path] = []
    for glob in globs:
        files = sorted(path for path in paths.package_dir().glob(glob) if path.name != "__init__.py")
        if not files:
            raise ConfigError(
                "a file that the lock names is missing", where=str(paths.package_dir() / glob),
                fix="restore it from the release",
            )  # fmt: skip
        found += files
    return tuple(found)


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _spell_out(path: str) -> list[str]:
    match = re.fullmatch(r"(.*)\{([^}]+)\}(.*)", path)
    if not match:
        return [path]
    return [f"{match[1]}{name.strip()}{match[3]}" for name in match[2].split(",")]


def _expand(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fill in the words of each component; also map filled-in keys to what the file says, for their lines."""
    components = data.get("components")
    renamed: dict[str, str] = {}
    if not isinstance(components, dict):
        return data, renamed
    filled = {}
    for name, component in components.items():
        version = component.get("version") if isinstance(component, dict) else None
        if isinstance(version, str):
            words = {"version": version, "bare": version.removeprefix("v"), "arch": str(data.get("arch", ""))}
            if (match := re.match(r"v?(\d+)\.(\d+)", version)) is not None:
                words |= {"major": match[1], "minor": match[2]}
            for section in ("images", "files", "charts", "requires"):
                keys = component.get(section)
                if isinstance(keys, dict):
                    renamed |= {_fill(key, words): key for key in keys if isinstance(key, str)}
            component = _fill(component, words)
        filled[name] = component
    return {**data, "components": filled}, renamed


def _fill(value: Any, words: Mapping[str, str]) -> Any:
    """Replace {word} in all strings, keys included; unknown {words} stay as they are."""
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace("{" + word + "}", text)
        return value
    if isinstance(value, Mapping):
        return {_fill(key, words): _fill(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, words) for item in value]
    return value
