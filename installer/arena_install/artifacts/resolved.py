"""The resolved lock: what was really used, by sha256. Roles, the stack and the report read it from the state folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from arena_install.artifacts.cache import Cache, write_atomically
from arena_install.errors import ConfigError, StepError

Way = Literal["release", "build", "bundle"]
SBOM_SUFFIX = ".cdx.json"


@dataclass(frozen=True)
class ResolvedFile:
    """A file or chart. inputs: the lock's input digest when it was made. parts: blob with what is inside, or ""."""

    version: str
    sha256: str
    size: int
    way: Way
    license: str = ""
    component: str = ""
    inputs: str = ""
    parts: str = ""


@dataclass(frozen=True)
class ResolvedImage:
    """manifest: "sha256:<hex>"; blobs: config first, then layers; all are blobs of the cache."""

    version: str
    way: Way
    manifest: str
    media_type: str
    blobs: tuple[Mapping[str, Any], ...]  # digest, size, media_type
    license: str = ""
    component: str = ""
    inputs: str = ""
    parts: str = ""


@dataclass(frozen=True)
class Resolved:
    arch: str
    files: Mapping[str, ResolvedFile] = field(default_factory=dict)
    images: Mapping[str, ResolvedImage] = field(default_factory=dict)
    charts: Mapping[str, ResolvedFile] = field(default_factory=dict)
    cache: Cache = field(default_factory=Cache, compare=False, repr=False)

    def file(self, name: str) -> Path:
        """Path of a file's blob, its bytes checked. It has no execute bit: install it, or see `program`."""
        return self.cache.verified(self._get(self.files, name, "file").sha256)

    def chart(self, name: str) -> Path:
        """Path of a chart archive, with a name that ends in .tgz (Helm wants one), its bytes checked."""
        return self._named(self._get(self.charts, name, "chart").sha256, f"{name}.tgz")

    def program(self, name: str) -> Path:
        """Path of a file as an executable called by its name; for what runs on the controller."""
        return self._named(self._get(self.files, name, "file").sha256, name, executable=True)

    def image(self, reference: str) -> ResolvedImage:
        """By its reference, with or without the tag."""
        if reference not in self.images:
            reference = next((key for key in self.images if key.rpartition(":")[0] == reference), reference)
        image: ResolvedImage = self._get(self.images, reference, "image")
        return image

    def image_blobs(self, reference: str) -> dict[str, Path]:
        """Digest -> path of everything that an image consists of, the manifest too, bytes checked."""
        image = self.image(reference)
        digests = [image.manifest, *(str(blob["digest"]) for blob in image.blobs)]
        return {digest: self.cache.verified(digest.removeprefix("sha256:")) for digest in digests}

    def save(self, path: Path) -> None:
        """Write the resolved lock, and the software bill of materials (CycloneDX) beside it."""
        from arena_install.artifacts import sbom  # only a save needs it

        write_atomically(path, (json.dumps(self.as_dict(), indent=1, sort_keys=True) + "\n").encode(), 0o644)
        bill = json.dumps(sbom.cyclonedx(self), indent=1, sort_keys=True) + "\n"
        write_atomically(path.with_suffix(SBOM_SUFFIX), bill.encode(), 0o644)

    def as_dict(self) -> dict[str, Any]:
        def rows(items: Mapping[str, Any]) -> dict[str, Any]:
            return {
                name: {k: list(v) if isinstance(v, tuple) else v for k, v in vars(items[name]).items()}
                for name in sorted(items)
            }

        return {
            "schema": 1,
            "arch": self.arch,
            "files": rows(self.files),
            "images": rows(self.images),
            "charts": rows(self.charts),
        }

    @classmethod
    def load(cls, path: Path, cache: Cache | None = None) -> Resolved:
        """Read what `save` wrote. Raises ConfigError if it is not that."""
        try:
            data = json.loads(path.read_bytes())
            if data["schema"] != 1:
                raise ValueError(f"schema {data['schema']} is not 1")
            images = {
                name: ResolvedImage(**{**row, "blobs": tuple(row["blobs"])}) for name, row in data["images"].items()
            }
            files = {name: ResolvedFile(**row) for name, row in data["files"].items()}
            charts = {name: ResolvedFile(**row) for name, row in data["charts"].items()}
            return cls(data["arch"], files, images, charts, cache or Cache())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                "this is no resolved lock", where=str(path), why=str(error), fix="remove it and run `arena-install up`"
            ) from error

    def complete(self) -> bool:
        """Whether every blob named here is in the cache (by a stat, not by its bytes)."""
        wanted = {row.sha256 for row in (*self.files.values(), *self.charts.values())}
        for image in self.images.values():
            wanted |= {image.manifest.removeprefix("sha256:")}
            wanted |= {str(blob["digest"]).removeprefix("sha256:") for blob in image.blobs}
        return all(self.cache.path(sha256).is_file() for sha256 in wanted)

    def _named(self, sha256: str, name: str, *, executable: bool = False) -> Path:
        """The same file under a name of its own: a hard link, so that it costs nothing and what was checked is used."""
        source = self.cache.verified(sha256)
        if executable and not os.access(source, os.X_OK):
            source.chmod(0o755)
        target = self.cache.root / "named" / sha256 / name
        if not (target.exists() and target.samefile(source)):
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{name}.{os.getpid()}.{threading.get_ident()}")
            fresh.unlink(missing_ok=True)
            fresh.hardlink_to(source)
            fresh.replace(target)
            fresh.unlink(missing_ok=True)  # a rename onto the same file does nothing
        return target

    @staticmethod
    def _get(items: Mapping[str, Any], name: str, kind: str) -> Any:
        try:
            return items[name]
        except KeyError:
            raise StepError(
                f"no {kind} {name} was resolved", why=f"there are: {', '.join(sorted(items)) or 'none'}"
            ) from None
