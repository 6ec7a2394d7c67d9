"""resolve(): names in, verified bytes out. Decides the way, asks the cache, and runs what is missing.

Sticky on purpose: with the way `auto`, what the cache (or the cluster's last resolved lock) already has stays as it is.
A release host that becomes reachable must not change a running cluster's kubelet.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_install.artifacts import child
from arena_install.artifacts.cache import Cache, Entry
from arena_install.artifacts.keys import build_key, release_key
from arena_install.artifacts.lock import OWN, File, Image, Item, Lock
from arena_install.artifacts.resolved import Resolved, ResolvedFile, ResolvedImage, Way
from arena_install.errors import ConfigError, StepError, UnreachableError
from arena_install.events import Emit, Event, step
from arena_install.inventory.config import Config

if TYPE_CHECKING:
    from arena_install.artifacts.build import Builder

_STEP = "artifacts/resolve"


def resolve(
    lock: Lock,
    names: Iterable[str],
    config: Config,
    emit: Emit,
    *,
    state: Path | None = None,
    cache: Cache | None = None,
) -> Resolved:
    """Have every named file, image (with or without tag) and chart in the cache, and say what it is.

    Only what is asked for is made. state: the cluster's last resolved lock, if there is one: with `auto`, its ways are
    kept. Raises ConfigError (unknown name, bundle), UnreachableError (way `release`, host down) or StepError.
    """
    cache = cache or Cache()
    items = list({item.name: item for item in map(lock.find, names)}.values())
    _refuse_bundle(config)
    _refuse_building(items, config)
    asked = _Ways(lock, config, cache, _last_ways(state))
    found = {item.name: hit for item in items if (hit := asked.cached(item))}
    absent = [item for item in items if item.name not in found]
    if absent:
        lone = threading.Lock()

        def one_at_a_time(event: Event) -> None:
            with lone:
                emit(event)

        with step(one_at_a_time, _STEP, f"{len(absent)} of {len(items)} to make") as now:
            with cache.builder(one_at_a_time, _STEP):
                found |= {item.name: hit for item in absent if (hit := asked.cached(item))}
                absent = [item for item in absent if item.name not in found]
                if absent:
                    found |= _make(lock, absent, config, cache, one_at_a_time, asked)
            now.end("changed" if absent else "ok", f"{len(absent)} made, {len(items) - len(absent)} were there")
    return _resolved(lock, items, found, cache)


def missing(lock: Lock, names: Iterable[str], config: Config, *, cache: Cache | None = None) -> list[str]:
    """Names that a resolve would have to make now; reads only, in milliseconds."""
    asked = _Ways(lock, config, cache or Cache(), {})
    return [item.name for item in map(lock.find, names) if not asked.cached(item)]


class _Ways:
    """Which ways an item may go, in order of preference, and what the cache has of them."""

    def __init__(self, lock: Lock, config: Config, cache: Cache, last: dict[str, Way]) -> None:
        self._lock, self._config, self._cache, self._last = lock, config, cache, last

    def of(self, item: Item) -> tuple[Way, ...]:
        forced = self._config.artifacts.way
        if not has_release(item):
            return ("build",)
        if unbuildable(item):
            return ("release",)
        if forced in ("build", "release"):
            return ("build",) if forced == "build" else ("release",)
        return ("build", "release") if self._last.get(item.name) == "build" else ("release", "build")

    def cached(self, item: Item) -> tuple[Way, Entry] | None:
        for way in self.of(item):
            if entry := self._cache.lookup(self.key(item, way)):
                return way, entry
        return None

    def key(self, item: Item, way: Way) -> str:
        if way == "build":
            return build_key(self._lock, item, self._config)
        return release_key(self._lock, item)


def has_release(item: Item) -> bool:
    """Whether upstream publishes it; an image is published under its own reference unless that is our own name."""
    if isinstance(item.spec, Image):
        return not item.name.startswith(OWN)
    return item.spec.release is not None


def unbuildable(item: Item) -> str:
    """Why it can't be built, "" if it can: then upstream's own is the only one there is."""
    return item.spec.unbuildable if isinstance(item.spec, Image) else ""


def _make(
    lock: Lock, absent: list[Item], config: Config, cache: Cache, emit: Emit, ways: _Ways
) -> dict[str, tuple[Way, Entry]]:
    from arena_install.artifacts.build import Builder

    with cache.workspace() as workspace:
        releasable = [item for item in absent if "release" in ways.of(item)]
        fetcher: Any = None
        if releasable:
            from arena_install.artifacts.release import Fetcher

            fetcher = Fetcher(cache, lock, config, workspace, emit)
            if config.artifacts.way == "auto" and not fetcher.reachable(releasable):
                releasable = []
                _refuse_unreachable(absent)
        fetched = {item.name for item in releasable}
        builder = Builder(cache, lock, config, workspace, _environment(config, workspace), emit)
        built = [item for item in absent if item.name not in fetched]
        _build(builder, built)
        if releasable:
            run_lanes([[partial(fetcher.fetch, item, builder) for item in releasable[lane::4]] for lane in range(4)])
        made: dict[str, tuple[Way, Entry]] = {}
        for item in absent:
            way: Way = "release" if item.name in fetched else "build"
            entry = cache.lookup(ways.key(item, way))
            if entry is None:
                raise StepError(f"{item.name} was made, but is not in the cache", fix="is the disk full? run again")
            made[item.name] = (way, entry)
        if not config.artifacts.compiler_cache:
            from arena_install.artifacts.golang import drop_compiler_cache

            # Also those of a run that was killed after its last compilation.
            if freed := drop_compiler_cache(cache):
                emit(Event("log", _STEP, f"removed the Go caches, {freed / 2**30:.1f} GiB"))
        return made


def _build(builder: Builder, items: list[Item]) -> None:
    """Go in one lane, packages in another (they wait for the network while it computes); then what needs both."""
    lock = builder.lock
    files: dict[str, Item] = {item.name: item for item in items if isinstance(item.spec, File)}
    roots: dict[str, None] = {}
    images = _with_bases(builder, [item for item in items if isinstance(item.spec, Image)])
    for item in images:
        assert isinstance(item.spec, Image)
        roots |= dict.fromkeys(lock.rootfs_of(item.spec))
        for name in (*item.spec.copy_.values(), *item.spec.unpack.values()):
            files.setdefault(name, lock.find(name))
    charts = [item for item in items if item.kind in ("chart", "crds")]
    go = [item for item in files.values() if isinstance(item.spec, File) and item.spec.go]
    other = [item for item in files.values() if item not in go]
    run_lanes(
        [
            [partial(builder.make, item) for item in (*go, *charts)],
            [
                *(partial(builder.rootfs, name) for name in roots),
                *(partial(builder.make, item) for item in other),
            ],
        ]
    )
    run_lanes([[partial(builder.make, item) for item in images]])


def _with_bases(builder: Builder, images: Iterable[Item]) -> list[Item]:
    """Images, each after the one that it is built on, where that is yet to be made."""
    found: dict[str, Item] = {}
    for item in images:
        assert isinstance(item.spec, Image)
        below = builder.lock.below(item.spec)
        if below is not None and not builder.cache.lookup(builder.key(below)):
            found[below.name] = below
        found[item.name] = item
    return list(found.values())


def run_lanes(lanes: Sequence[Sequence[Callable[[], object]]]) -> None:
    """Run each lane's tasks one after the other, lanes side by side. The first error ends them all, and is raised."""
    stopping = threading.Event()

    def run(lane: Sequence[Callable[[], object]]) -> None:
        for task in lane:
            if stopping.is_set():
                return
            task()

    used = [lane for lane in lanes if lane]
    if not used:
        return
    with ThreadPoolExecutor(len(used)) as pool:
        futures: list[Future[None]] = [pool.submit(run, lane) for lane in used]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stopping.set()
            child.stop_all()
            raise


def _resolved(lock: Lock, items: list[Item], found: dict[str, tuple[Way, Entry]], cache: Cache) -> Resolved:
    files: dict[str, ResolvedFile] = {}
    images: dict[str, ResolvedImage] = {}
    charts: dict[str, ResolvedFile] = {}
    for item in items:
        way, entry = found[item.name]
        row = entry.result
        common: dict[str, Any] = {
            "version": row["version"],
            "way": way,
            "license": lock.components[item.component].license,
            "component": item.component,
            "inputs": lock.input_digest(item),
            "parts": row["parts"],
        }
        if item.kind == "image":
            images[item.name] = ResolvedImage(
                manifest=row["manifest"], media_type=row["media_type"], blobs=tuple(row["blobs"]), **common
            )
        else:
            table = charts if item.kind == "chart" else files
            table[item.name] = ResolvedFile(sha256=row["sha256"], size=row["size"], **common)
    return Resolved(lock.arch, files, images, charts, cache)


def _last_ways(state: Path | None) -> dict[str, Way]:
    if state is None or not state.is_file():
        return {}
    try:
        last = Resolved.load(state)
    except ConfigError:
        return {}
    rows: list[tuple[str, ResolvedFile | ResolvedImage]] = [
        *last.files.items(),
        *last.charts.items(),
        *last.images.items(),
    ]
    return {name: row.way for name, row in rows}


def _refuse_bundle(config: Config) -> None:
    if config.artifacts.way == "bundle":
        raise ConfigError(
            "artifacts can't come from a bundle yet",
            where="artifacts.way",
            fix="set artifacts.way to auto, release or build",
        )


def _refuse_building(items: Iterable[Item], config: Config) -> None:
    for item in items:
        if config.artifacts.way == "build" and (why := unbuildable(item)):
            raise ConfigError(
                f"{item.name} can't be built",
                where="artifacts.way",
                why=why,
                fix="set artifacts.way to auto or release, or leave out what needs it: its component's page says how",
            )


def _refuse_unreachable(absent: Iterable[Item]) -> None:
    for item in absent:
        if why := unbuildable(item):
            raise UnreachableError(
                f"{item.name} can't be fetched, and can't be built either",
                why=why,
                fix="name a mirror or proxy under artifacts, or leave out what needs it: its component's page says how",
            )


def _environment(config: Config, workspace: Path) -> dict[str, str]:
    """What package managers need to know of the configuration's proxy and certificates."""
    if not (config.artifacts.proxy or config.artifacts.ca_file):
        return {}
    from arena_install.artifacts.network import proxy_url, trust_bundle

    env: dict[str, str] = {}
    if config.artifacts.proxy:
        url = proxy_url(config.artifacts.proxy)
        env = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url)
        env |= {name: ",".join(config.artifacts.no_proxy) for name in ("NO_PROXY", "no_proxy")}
    if config.artifacts.ca_file:
        bundle = str(trust_bundle(Path(config.artifacts.ca_file), workspace / "ca.pem"))
        env |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"), bundle)
    return {name: value for name, value in env.items() if value or name in os.environ}
