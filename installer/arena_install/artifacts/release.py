"""The way `release`: upstream's own files and images, over HTTPS, checked by what upstream publishes about them."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from arena_install.artifacts import archive
from arena_install.artifacts.build import Builder, store_image
from arena_install.artifacts.cache import Cache, Entry, hash_file
from arena_install.artifacts.keys import release_key
from arena_install.artifacts.lock import Chart, File, Image, Item, Lock, Release
from arena_install.artifacts.network import Http, Progress, first_of, part_name
from arena_install.artifacts.registry import Reference, Registry
from arena_install.errors import ArenaError, StepError
from arena_install.events import Emit, Event, Step, step
from arena_install.inventory.config import Config

#: Seconds that a release host has to answer before the way `build` is taken.
PATIENCE = 3.0


@dataclass
class Fetcher:
    """Fetches items; several threads may at once."""

    cache: Cache
    lock: Lock
    config: Config
    workspace: Path
    emit: Emit
    http: Http = field(init=False)
    registry: Registry = field(init=False)
    _files: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.http = Http(self.config.artifacts)
        self.registry = Registry(self.http, self.cache, self.lock.arch)

    def reachable(self, items: Sequence[Item]) -> bool:
        """Whether every host that these items come from answers within PATIENCE; says so in an event."""
        probes = {urlsplit(url).netloc: url for url in map(self._probe, items)}
        with step(self.emit, "artifacts/way", f"asking {len(probes)} release hosts") as now:
            with ThreadPoolExecutor(max(1, len(probes))) as pool:
                answers = dict(zip(probes, pool.map(self._answers, probes.values()), strict=True))
            silent = {host: why for host, why in answers.items() if why}
            if silent:
                host, why = next(iter(silent.items()))
                more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
                now.end("ok", f"build: {host} {why}{more}")
            else:
                now.end("ok", f"release: {', '.join(sorted(probes))} answer")
        return not silent

    def fetch(self, item: Item, builder: Builder) -> Entry:
        """The entry of an item, fetched now unless it is there. Raises UnreachableError or StepError."""
        inputs = release_key(self.lock, item)
        if entry := self.cache.lookup(inputs):
            return entry
        version = item.release.version if item.release and item.release.version else self.lock.version(item)
        with step(self.emit, f"artifacts/{item.name}", f"fetching {version}") as now:
            if isinstance(item.spec, Image):
                reference = item.spec.release.image if item.spec.release and item.spec.release.image else item.name
                image = self.registry.pull(reference, _shown(now))
                entry = store_image(self.cache, inputs, image, version, None)
            elif isinstance(item.spec, File):
                assert item.release is not None
                out = self.workspace / item.name
                archive.take(self._download(item.release, now), item.release.member, out)
                entry = builder.store_file(inputs, out, version, [])
            else:
                entry = self._chart(item, item.spec, builder, now)
            now.end("changed", f"{sum(blob.size for blob in entry.blobs) >> 20} MiB")
            return entry

    def _chart(self, item: Item, spec: Chart, builder: Builder, now: Step) -> Entry:
        assert spec.release is not None
        folder = self.workspace / f"{item.name}.d"
        folder.mkdir()
        top = archive.unpack(self._download(spec.release, now), folder)
        chart = self.lock.find(item.name.removesuffix("-crds") if item.kind == "crds" else item.name)
        return builder.store_chart(chart, top, lambda one: release_key(self.lock, one))[item.name]

    def _download(self, release: Release, now: Step) -> Path:
        """An upstream file, once a run however many items are in it, checked. Raises StepError if it is not genuine."""
        with self._guard:
            lock = self._files.setdefault(release.url, threading.Lock())
        with lock:
            done = self.workspace / f"download-{part_name(release.url)}"
            if done.is_file():
                return done
            part = self.cache.root / "partial" / part_name(release.url)

            def attempt(url: str) -> Path:
                return self.http.download(url, part, progress=_shown(now))

            first_of(self.http.candidates(release.url), attempt)
            expected = release.sha256 or self._published(release)
            if expected and (actual := hash_file(part)) != expected:
                part.unlink()
                raise StepError(
                    f"{Path(urlsplit(release.url).path).name} is not what upstream published",
                    where=release.url,
                    why=f"its sha256 is {actual}, upstream says {expected}",
                    fix="a mirror or proxy may have changed it, or cut it off: try again, or without the mirror",
                )
            part.replace(done)
            return done

    def _published(self, release: Release) -> str:
        """The sha256 that upstream's own checksum file gives for a release; "" if the lock names no such file."""
        if not release.checksums:
            return ""
        # From upstream itself if it can be had: a mirror that changed the file could change this one too.
        urls = list(reversed(self.http.candidates(release.checksums)))
        body, _ = first_of(urls, self.http.get)
        name = Path(urlsplit(release.url).path).name
        for line in body.decode(errors="replace").splitlines():
            match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*", line)
            if match and (match[2] is None or Path(match[2]).name == name):
                return match[1].lower()
        raise StepError(f"upstream's checksum file does not name {name}", where=release.checksums)

    def _probe(self, item: Item) -> str:
        if isinstance(item.spec, Image):
            text = item.spec.release.image if item.spec.release and item.spec.release.image else item.name
            parts = urlsplit(self.registry.bases(Reference.parse(text))[0])
            return f"{parts.scheme}://{parts.netloc}/v2/"
        assert item.release is not None
        return self.http.candidates(item.release.url)[0]

    def _answers(self, url: str) -> str:
        """ "" if the host gives what we want, else why not."""
        method = "GET" if url.endswith("/v2/") else "HEAD"
        try:
            with self.http.open(method, url, timeout=PATIENCE) as response:
                # A registry that wants a login is there; a border that forbids all is not.
                if response.status < 400 or (response.status == 401 and method == "GET"):
                    return ""
                return f"answers {response.status}"
        except HTTPError as error:
            return (
                "does not answer" if "timed out" in str(error).lower() else f"can't be reached ({type(error).__name__})"
            )
        except (ArenaError, OSError) as error:
            self.emit(Event("log", "artifacts/way", str(error)))
            return "can't be reached"


def _shown(now: Step) -> Progress:
    last = [0]

    def progress(have: int, total: int) -> None:
        if have - last[0] >= 1 << 20 or have == total:
            last[0] = have
            of = f" of {total / 2**20:.0f}" if total else ""
            now.progress(f"{have / 2**20:.0f}{of} MiB", bytes=have, total=total)

    return progress
