"""Names in, verified bytes out: both ways, the choice between them, and what a kill or a second process does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_artifact_archive import tar_of
from upstream_fixture import Authority, Upstream, publish_image

from arena_install import artifacts, paths
from arena_install.artifacts import Cache, Lock, Resolved, resolve
from arena_install.errors import ArenaError, ConfigError, StepError, UnreachableError
from arena_install.events import Event, ignore
from arena_install.inventory.config import Config

COMPONENTS = """\
  tool:
    version: v1.0.0
    license: MIT
    source: https://example.test
    files:
      tool:
        make: src/tool
        release: {{url: "{url}/{{version}}/tool", checksums: "{url}/{{version}}/tool.sha256"}}
      packed:
        make: src/tool
        release: {{url: "{url}/packed.tgz", member: [bin/packed]}}
  app:
    version: v2.0.0
    license: Apache-2.0 AND MIT
    source: https://example.test
    images:
      {host}/team/app:{{version}}:
        copy: {{/usr/bin/tool: tool}}
        text: {{/etc/greeting: hello}}
        user: "1:1"
    charts:
      app: {{folder: charts/app}}
"""
MAKEFILE = """\
tar:
\techo built >> $(COUNT)
\tsleep $(or $(PAUSE),0)
\techo program > $(TAR)
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources of ours, a counter of builds, and a cache of the test's own."""
    data = tmp_path / "data"
    (data / "src" / "tool").mkdir(parents=True)
    (data / "src" / "tool" / "Makefile").write_text(MAKEFILE)
    (data / "charts" / "app").mkdir(parents=True)
    (data / "charts" / "app" / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 2.0.0\n")
    monkeypatch.setattr(paths, "data_dir", lambda: data)
    monkeypatch.setenv("ARENA_INSTALL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    return tmp_path


def builds(checkout: Path) -> int:
    return len((checkout / "count").read_text().splitlines()) if (checkout / "count").exists() else 0


@pytest.fixture
def lock(checkout: Path, upstream: Upstream, write_lock: Callable[[str], Path]) -> Lock:
    return Lock.load(write_lock(COMPONENTS.format(url=upstream.url, host=upstream.host)))


@pytest.fixture
def config(authority: Authority) -> Callable[..., Config]:
    def make(way: str, **settings: object) -> Config:
        return Config.model_validate({"artifacts": {"way": way, "ca_file": str(authority.file), **settings}})

    return make


def publish(upstream: Upstream) -> None:
    upstream.files["/v1.0.0/tool"] = b"upstream's tool"
    sha256 = hashlib.sha256(b"upstream's tool").hexdigest()
    upstream.files["/v1.0.0/tool.sha256"] = f"{'0' * 64}  other\n{sha256}  tool\n".encode()
    upstream.files["/packed.tgz"] = tar_of({"bin/packed": b"packed tool"})
    upstream.files["/v2/"] = b"{}"
    publish_image(upstream, "team/app", "v2.0.0")


def test_built_once_and_found_again(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    events: list[Event] = []
    image = next(iter(lock.images()))
    resolved = resolve(lock, ["tool", image, "app"], config("build"), events.append)
    assert resolved.file("tool").read_bytes() == b"program\n"
    assert resolved.files["tool"].way == resolved.images[image].way == resolved.charts["app"].way == "build"
    assert resolved.chart("app").name == "app.tgz"
    assert builds(checkout) == 1
    ended = {event.step: event.outcome for event in events if event.kind == "end"}
    assert ended == dict.fromkeys(
        ("artifacts/tool", f"artifacts/{image}", "artifacts/app", "artifacts/resolve"), "changed"
    )
    assert sorted(e.step for e in events if e.kind == "start") == sorted(e.step for e in events if e.kind == "end")

    events.clear()
    started = time.monotonic()
    again = resolve(lock, ["tool", image.rpartition(":")[0], "app"], config("build"), events.append)
    assert time.monotonic() - started < 0.2
    assert (again.as_dict(), events, builds(checkout)) == (resolved.as_dict(), [], 1)


def test_only_what_is_asked_for_is_made(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    resolved = resolve(lock, ["app"], config("build"), ignore)
    assert (list(resolved.charts), resolved.files, resolved.images, builds(checkout)) == (["app"], {}, {}, 0)
    assert artifacts.missing(lock, ["app", "tool"], config("build")) == ["tool"]


@pytest.mark.parametrize("keep", [True, False])
def test_go_caches_of_a_killed_run_go(lock: Lock, checkout: Path, config: Callable[..., Config], keep: bool) -> None:
    left = checkout / "cache" / "go" / "build" / "ab"
    left.mkdir(parents=True)
    (left / "object").write_bytes(b"compiled")
    resolve(lock, ["tool"], config("build", compiler_cache=keep), ignore)
    assert left.exists() == keep


def test_changed_sources_are_built_again(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    resolve(lock, ["tool"], config("build"), ignore)
    makefile = checkout / "data" / "src" / "tool" / "Makefile"
    makefile.write_text(MAKEFILE.replace("program", "better program"))
    newer = Lock.load(lock.path)
    assert newer.digest("tool") != lock.digest("tool")
    assert resolve(newer, ["tool"], config("build"), ignore).file("tool").read_bytes() == b"better program\n"


def test_upstreams_own_bytes(lock: Lock, upstream: Upstream, checkout: Path, config: Callable[..., Config]) -> None:
    publish(upstream)
    image = next(iter(lock.images()))
    resolved = resolve(lock, ["tool", "packed", image, "app"], config("release"), ignore)
    assert resolved.file("tool").read_bytes() == b"upstream's tool"
    assert resolved.file("packed").read_bytes() == b"packed tool"
    assert {resolved.files["tool"].way, resolved.images[image].way} == {"release"}
    assert resolved.charts["app"].way == "build"  # nobody publishes our own chart
    assert builds(checkout) == 0
    asked = len(upstream.asked)
    resolve(lock, ["tool", "packed", image], config("release"), ignore)
    assert len(upstream.asked) == asked


@pytest.mark.parametrize("what", ["file", "checksums"])
def test_what_upstream_did_not_publish_is_refused(
    lock: Lock, upstream: Upstream, checkout: Path, config: Callable[..., Config], what: str
) -> None:
    publish(upstream)
    if what == "file":
        upstream.files["/v1.0.0/tool"] = b"something else"
    else:
        upstream.files["/v1.0.0/tool.sha256"] = b"<html>login</html>"
    with pytest.raises(StepError, match=r"not what upstream published|does not name tool"):
        resolve(lock, ["tool"], config("release"), ignore)
    assert list((checkout / "cache" / "blobs" / "sha256").glob("*")) == []


def test_a_mirror_serves_the_file_and_upstream_the_checksum(
    lock: Lock, upstream: Upstream, serve: Callable[[], Upstream], config: Callable[..., Config]
) -> None:
    publish(upstream)
    mirror = serve()
    mirror.files["/m/v1.0.0/tool"] = b"changed on the way"
    with pytest.raises(StepError, match="not what upstream published"):
        resolve(lock, ["tool"], config("release", mirrors={upstream.host: f"{mirror.url}/m"}), ignore)


def test_auto_takes_upstream_where_it_answers(
    lock: Lock, upstream: Upstream, checkout: Path, config: Callable[..., Config]
) -> None:
    publish(upstream)
    events: list[Event] = []
    image = next(iter(lock.images()))
    resolved = resolve(lock, ["tool", image], config("auto"), events.append)
    assert (resolved.files["tool"].way, resolved.images[image].way) == ("release", "release")
    said = [event.text for event in events if event.step == "artifacts/way" and event.kind == "end"]
    assert said == [f"release: {upstream.host} answer"]


def test_auto_builds_where_it_does_not_and_stays_with_it(
    lock: Lock, upstream: Upstream, checkout: Path, config: Callable[..., Config]
) -> None:
    events: list[Event] = []
    first = resolve(lock, ["tool"], config("auto"), events.append)  # upstream has no such file yet
    assert first.files["tool"].way == "build"
    assert [e.text for e in events if e.step == "artifacts/way" and e.kind == "end"] == [
        f"build: {upstream.host} answers 404"
    ]
    publish(upstream)
    state = checkout / "resolved.lock.json"
    first.save(state)
    assert resolve(lock, ["tool"], config("auto"), ignore, state=state).files == first.files
    resolve(lock, ["tool"], config("release"), ignore)
    assert resolve(lock, ["tool"], config("auto"), ignore, state=state).files == first.files
    assert resolve(lock, ["tool"], config("auto"), ignore).files["tool"].way == "release"


def test_release_is_forced_and_nobody_answers(
    checkout: Path, write_lock: Callable[[str], Path], config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena_install.artifacts.network.TRIES", 1)
    lock = Lock.load(write_lock(COMPONENTS.format(url="https://127.0.0.1:9", host="127.0.0.1:9")))
    with pytest.raises(UnreachableError) as caught:
        resolve(lock, ["tool"], config("release"), ignore)
    assert "way: build" in caught.value.fix


NOT_OURS = """\
  far:
    version: v1.0.0
    license: MIT
    source: https://example.test
    images:
      {host}/team/far:{{version}}: {{unbuildable: its library is nowhere to be had}}
  own:
    version: v1.0.0
    license: MIT
    source: https://example.test
    files: {{own: {{ours: [events.py, verify/payloads/podresources.py]}}}}
"""


def test_what_can_not_be_built_is_fetched_or_refused_before_anything_is_made(
    checkout: Path, upstream: Upstream, write_lock: Callable[[str], Path], config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("arena_install.artifacts.network.TRIES", 1)
    text = COMPONENTS.format(url=upstream.url, host=upstream.host) + NOT_OURS.format(host=upstream.host)
    lock = Lock.load(write_lock(text))
    image = f"{upstream.host}/team/far:v1.0.0"
    with pytest.raises(ConfigError, match=r"far:v1\.0\.0 can't be built") as refused:
        resolve(lock, ["tool", image], config("build"), ignore)
    assert refused.value.why == "its library is nowhere to be had" and "auto or release" in refused.value.fix
    with pytest.raises(UnreachableError, match="can't be fetched, and can't be built either"):
        resolve(lock, ["tool", image], config("auto"), ignore)
    assert builds(checkout) == 0
    assert artifacts.missing(lock, [image], config("build")) == [image]
    publish(upstream)
    publish_image(upstream, "team/far", "v1.0.0")
    assert resolve(lock, [image], config("auto"), ignore).images[image].way == "release"


LAYERED = """\
  below:
    version: v1.0.0
    license: MIT
    source: https://example.test
    images:
      arena-install.local/below:{{version}}:
        text: {{/etc/below: "{text}"}}
  above:
    version: v2.0.0
    license: MIT
    source: https://example.test
    images:
      arena-install.local/above:{{version}}:
        base: arena-install.local/below:v1.0.0
        text: {{/etc/above: there}}
        user: "1:1"
"""


def test_an_image_shares_the_layers_of_the_one_below(
    checkout: Path, write_lock: Callable[[str], Path], config: Callable[..., Config]
) -> None:
    lock = Lock.load(write_lock(LAYERED.format(text="here")))
    below, above = lock.images()
    alone = resolve(lock, [above], config("build"), ignore).images[above]
    both = resolve(lock, [below, above], config("build"), ignore)
    assert both.images[above].blobs == alone.blobs
    layers = [[blob["digest"] for blob in both.images[name].blobs[1:]] for name in (below, above)]
    assert len(layers[1]) == 2 and layers[1][:1] == layers[0]
    configs = [
        json.loads(Cache().verified(both.images[name].blobs[0]["digest"][7:]).read_bytes()) for name in (below, above)
    ]
    assert configs[1]["rootfs"]["diff_ids"][:1] == configs[0]["rootfs"]["diff_ids"]
    assert configs[1]["config"]["User"] == "1:1" and "User" not in configs[0]["config"]
    other = Lock.load(write_lock(LAYERED.format(text="elsewhere")))
    assert other.digest(above) != lock.digest(above), "it depends on what is below"


def test_our_own_files_travel_side_by_side(
    checkout: Path, write_lock: Callable[[str], Path], config: Callable[..., Config]
) -> None:
    lock = Lock.load(write_lock(NOT_OURS.format(host="e.test")))
    packed = resolve(lock, ["own"], config("build"), ignore).file("own")
    with tarfile.open(packed) as tar:
        assert tar.getnames() == ["events.py", "podresources.py"]


def test_no_bundles_yet(lock: Lock, config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="bundle"):
        resolve(lock, ["tool"], config("bundle", bundle="x"), ignore)


def test_an_unknown_name(lock: Lock, config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="named kubelet"):
        resolve(lock, ["kubelet"], config("build"), ignore)


def test_a_build_that_fails_says_why_and_leaves_nothing(
    lock: Lock, checkout: Path, config: Callable[..., Config]
) -> None:
    (checkout / "data" / "src" / "tool" / "Makefile").write_text("tar:\n\t@echo no such header; exit 1\n")
    with pytest.raises(ArenaError) as caught:
        resolve(Lock.load(lock.path), ["tool"], config("build"), ignore)
    assert "no such header" in caught.value.why
    assert Path(caught.value.where).is_file()
    cache = checkout / "cache"
    assert list((cache / "work").iterdir()) == list(cache.glob("index/*")) == []


def test_saved_and_loaded(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    image = next(iter(lock.images()))
    resolved = resolve(lock, ["tool", image, "app"], config("build"), ignore)
    resolved.save(checkout / "resolved.lock.json")
    loaded = Resolved.load(checkout / "resolved.lock.json")
    assert loaded == resolved
    assert loaded.complete()
    assert set(loaded.image_blobs(image.rpartition(":")[0])) == {
        loaded.images[image].manifest,
        *(blob["digest"] for blob in loaded.images[image].blobs),
    }
    assert os.access(loaded.program("tool"), os.X_OK)
    bill = json.loads((checkout / "resolved.lock.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    rows = {row["name"]: row for row in bill["components"]}
    assert rows["tool"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert rows["app"]["licenses"] == [{"expression": "Apache-2.0 AND MIT"}]
    assert {row["ref"] for row in bill["dependencies"]} <= {row["bom-ref"] for row in bill["components"]}
    (checkout / "resolved.lock.json").write_text('{"schema": 2}')
    with pytest.raises(ConfigError, match="no resolved lock"):
        Resolved.load(checkout / "resolved.lock.json")


def test_prune_keeps_what_is_named(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    resolved = resolve(lock, ["tool", "app"], config("build"), ignore)
    (checkout / "cache" / "go" / "build").mkdir(parents=True)
    (checkout / "cache" / "go" / "build" / "object").write_bytes(b"x" * 1000)
    freed = artifacts.prune([Resolved(resolved.arch, {"tool": resolved.files["tool"]}, cache=resolved.cache)])
    assert freed >= 1000
    assert not (checkout / "cache" / "go" / "build").exists()
    assert artifacts.missing(lock, ["tool", "app"], config("build")) == ["app"]
    assert resolved.file("tool").is_file()


RUN = """
import signal
import sys
# Where tests run in the background of a shell, an interrupt is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from arena_install import paths
from arena_install.artifacts import Lock, resolve
from arena_install.events import ignore
from arena_install.inventory.config import Config
paths.data_dir = lambda: Path(sys.argv[1])
resolve(Lock.load(Path(sys.argv[2])), ["tool"], Config.model_validate({"artifacts": {"way": "build"}}), ignore)
print("resolved", flush=True)
"""


def start(checkout: Path, lock: Lock, pause: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(checkout / "data"), str(lock.path)],
        env={**os.environ, "PAUSE": pause},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_two_processes_build_once(lock: Lock, checkout: Path) -> None:
    runs = [start(checkout, lock, "0.5") for _ in range(2)]
    assert [run.communicate(timeout=60)[0] for run in runs] == [b"resolved\n"] * 2
    assert builds(checkout) == 1


def test_after_a_kill_nothing_is_left_and_the_next_run_goes_on(
    lock: Lock, checkout: Path, config: Callable[..., Config]
) -> None:
    run = start(checkout, lock, "60")
    end = time.monotonic() + 30
    while not builds(checkout):
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert len(list((checkout / "cache" / "work").iterdir())) == 1
    assert resolve(lock, ["tool"], config("build"), ignore).file("tool").read_bytes() == b"program\n"
    assert builds(checkout) == 2
    assert list((checkout / "cache" / "work").iterdir()) == []


def test_a_damaged_blob_is_made_again(lock: Lock, checkout: Path, config: Callable[..., Config]) -> None:
    resolved = resolve(lock, ["tool"], config("build"), ignore)
    Cache().path(resolved.files["tool"].sha256).write_bytes(b"evil")
    assert resolve(lock, ["tool"], config("build"), ignore).file("tool").read_bytes() == b"program\n"
    assert builds(checkout) == 2


def test_an_interrupt_ends_the_build_at_once(lock: Lock, checkout: Path) -> None:
    run = start(checkout, lock, "60")
    end = time.monotonic() + 30
    while not builds(checkout):
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in run.communicate(timeout=10)[1]
    assert list((checkout / "cache" / "work").iterdir()) == []
