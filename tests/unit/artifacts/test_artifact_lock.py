from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from arena_install import paths
from arena_install.artifacts import load_lock
from arena_install.artifacts.lock import Chart, Image, Lock, own_files
from arena_install.errors import ArenaError, ConfigError

#: Names that roles, components and checks spell out.
FILES = [
    "kubeadm",
    "kubelet",
    "kubectl",
    "helm",
    "nvidia-ctk",
    "nvidia-cdi-hook",
    "nvidia-container-runtime",
    "simulated-gpu",
    "arena",
    "tensorboard",
]
CHARTS = [
    "flannel",
    "local-path-provisioner",
    "node-feature-discovery",
    "nvidia-device-plugin",
    "training-operator",
    "mpi-operator",
    "jobset",
    "kueue",
    "appwrapper",
    "volcano",
    "prometheus",
    "kube-state-metrics",
    "node-exporter",
    "gpu-exporter",
    "jupyterhub",
]
IMAGES = [
    "registry.k8s.io/kube-apiserver:v1.36.3",
    "registry.k8s.io/kube-controller-manager:v1.36.3",
    "registry.k8s.io/kube-scheduler:v1.36.3",
    "registry.k8s.io/kube-proxy:v1.36.3",
    "registry.k8s.io/etcd:3.6.8-0",
    "registry.k8s.io/coredns/coredns:v1.14.2",
    "registry.k8s.io/pause:3.10.2",
    "ghcr.io/flannel-io/flannel:v0.25.7",
    "docker.io/rancher/local-path-provisioner:v0.0.30",
    "docker.io/library/busybox:1.37.0",
    "registry.k8s.io/nfd/node-feature-discovery:v0.19.0",
    "nvcr.io/nvidia/k8s-device-plugin:v0.19.0",
    "ghcr.io/kubeflow/training-v1/training-operator:v1.9.4",
    "docker.io/mpioperator/mpi-operator:0.8.2",
    "registry.k8s.io/jobset/jobset:v0.12.0",
    "registry.k8s.io/kueue/kueue:v0.18.4",
    "quay.io/ibm/appwrapper:v1.2.2",
    "docker.io/volcanosh/vc-scheduler:v1.14.1",
    "docker.io/volcanosh/vc-controller-manager:v1.14.1",
    "docker.io/volcanosh/vc-webhook-manager:v1.14.1",
    "arena-install.local/verify-pytorch:2.6.0",
    "arena-install.local/verify-mpi:5.0.7",
    "arena-install.local/verify-tensorflow:2.21.0",
    "arena-install.local/arena-tools:1.0",
    "arena-install.local/arena-tensorboard:1.0",
    "arena-install.local/arena-serving:1.0",
    "quay.io/prometheus/prometheus:v3.10.0",
    "quay.io/prometheus/node-exporter:v1.12.1",
    "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2.20.0",
    "arena-install.local/gpu-exporter:1.0",
    "arena-install.local/jupyterhub:6.1.1",
    "arena-install.local/notebook:1.0",
    "arena-install.local/dashboard:1.0",
    "nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04",
]


@pytest.fixture(scope="module")
def shipped() -> Lock:
    return load_lock()


def test_names_that_others_rely_on(shipped: Lock) -> None:
    for name in (*FILES, *CHARTS, *IMAGES, "training-operator-crds", "node-feature-discovery-crds"):
        assert shipped.find(name).name == name
        if not name.startswith("simulated") and not (isinstance(shipped.find(name).spec, Chart)):
            assert re.fullmatch(r"[0-9a-f]{64}", shipped.digest(name))
    assert set(shipped.images()) == set(IMAGES)


def test_image_with_or_without_tag_has_one_digest(shipped: Lock) -> None:
    assert shipped.digest("registry.k8s.io/pause") == shipped.digest("registry.k8s.io/pause:3.10.2")
    with pytest.raises(ConfigError, match=r"no file, image or chart named registry.k8s.io/pause:3.9"):
        shipped.digest("registry.k8s.io/pause:3.9")


def test_every_component_has_a_licence_and_no_version_floats(shipped: Lock) -> None:
    for name, component in shipped.components.items():
        assert component.license, name
        assert re.search(r"\d", component.version), name
    assert "latest" not in paths.lock_file().read_text()


def test_no_digest_that_nobody_computed(shipped: Lock) -> None:
    written = [item for item in map(shipped.find, shipped.names()) if item.release and item.release.sha256]
    assert written == []


def test_kubernetes_libraries_agree_with_kubernetes(shipped: Lock) -> None:
    required = shipped.requirements("shared")
    wanted = required["k8s.io/kubernetes"].replace("v1.", "v0.")
    odd = {name: version for name, version in required.items() if name.startswith("k8s.io/") and version != wanted}
    assert odd == {"k8s.io/kubernetes": "v1.36.3", "k8s.io/sample-cli-plugin": "v0.35.4"}
    assert shipped.requirements("local-path")["k8s.io/client-go"] == wanted


def test_what_only_profile_full_uses_changes_nothing_for_minimal(shipped: Lock) -> None:
    shared, operators = shipped.requirements("shared"), shipped.requirements("operators")
    assert shared.items() < operators.items()
    assert "sigs.k8s.io/kueue" in operators and "sigs.k8s.io/kueue" not in shared


ROW = "  {0}: {{version: v1, license: MIT, source: https://e.test, module: {1}, requires: {{e.test/{0}: {2}}}, files: \
{{{0}: {{go: e.test/{0}}}}}}}\n"


def test_a_module_that_extends_another_leaves_that_ones_programs_alone(write_lock: Callable[[str], Path]) -> None:
    path = write_lock(ROW.format("a", "shared", "v1.0.0") + ROW.format("b", "more", "v1.0.0"))
    text = path.read_text().replace("{shared: test}", "{shared: test, more: {what: some, extends: shared}}")
    assert "extends" in text

    def read(changed: str) -> Lock:
        path.write_text(changed)
        return Lock.load(path)

    first = read(text)
    assert first.requirements("more") == {"e.test/a": "v1.0.0", "e.test/b": "v1.0.0"}
    assert first.requirements("shared") == {"e.test/a": "v1.0.0"}
    other = read(text.replace("e.test/b: v1.0.0", "e.test/b: v1.1.0"))
    assert other.digest("a") == first.digest("a") and other.digest("b") != first.digest("b")
    below = read(text.replace("e.test/a: v1.0.0", "e.test/a: v1.1.0"))
    assert below.digest("b") != first.digest("b")
    with pytest.raises(ConfigError, match=r"go\.modules\.more\.extends: module none is not there") as caught:
        read(text.replace("extends: shared", "extends: none"))
    assert f"{path}:" in str(caught.value)


def test_fields_of_charts_that_are_not_used_change_no_digest(write_lock: Callable[[str], Path]) -> None:
    row = "  a: {{version: v1, license: MIT, source: https://e.test, charts: {{a: {{go: e.test/a, path: c{0}}}}}}}\n"
    plain = Lock.load(write_lock(row.format(""))).digest("a")
    assert Lock.load(write_lock(row.format(", drop: [], crds_from: []"))).digest("a") == plain
    assert Lock.load(write_lock(row.format(", drop: [x]"))).digest("a") != plain
    with pytest.raises(ConfigError, match="crds_from is for charts of Go modules that have CRDs"):
        Lock.load(write_lock(row.format(", crds_from: [x]")))


def test_build_tags_and_what_can_not_be_built_count_where_they_are_used(write_lock: Callable[[str], Path]) -> None:
    row = """\
  a:
    version: v1
    license: MIT
    source: https://e.test
    module: shared
    files: {{a: {{go: e.test/a{0}}}}}
    images: {{"e.test/b:1": {{user: "1"{1}}}}}
"""

    def digests(tags: str = "", why: str = "") -> tuple[str, str]:
        lock = Lock.load(write_lock(row.format(tags, why)))
        return lock.digest("a"), lock.digest("e.test/b:1")

    plain = digests()
    assert digests(", tags: []", ', unbuildable: ""') == plain
    other = digests(", tags: [x]", ", unbuildable: it is a secret")
    assert plain[0] != other[0] and plain[1] != other[1]


def test_our_own_files_are_in_the_digest_and_must_be_there(
    write_lock: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "package_dir", lambda: tmp_path / "program")
    (tmp_path / "program" / "part").mkdir(parents=True)
    (tmp_path / "program/part/__init__.py").touch()
    path = write_lock("  a: {version: v1, license: MIT, source: https://e.test, files: {a: {ours: [part/*.py]}}}\n")
    with pytest.raises(ConfigError, match="a file that the lock names is missing"):
        Lock.load(path).digest("a")
    (tmp_path / "program/part/main.py").write_text("one")
    first = Lock.load(path).digest("a")
    (tmp_path / "program/part/main.py").write_text("two")
    assert Lock.load(path).digest("a") != first
    assert [file.name for file in own_files(["part/*.py"])] == ["main.py"]


def test_what_is_inside_an_image_is_in_its_digest(write_lock: Callable[[str], Path]) -> None:
    text = """\
  a:
    version: v1.0.0
    license: MIT
    source: https://example.test
    module: shared
    requires: {example.test/a: "{version}"}
    files: {prog: {go: example.test/a}}
    images:
      example.test/a:{version}: {copy: {/prog: prog}}
  b: {version: v1.0.0, license: MIT, source: "https://example.test", images: {"example.test/b:1": {user: "1"}}}
"""
    before = Lock.load(write_lock(text))
    stamped = Lock.load(write_lock(text.replace("requires: {", 'stamps: {main.v: "{version}"}\n    requires: {')))
    assert before.digest("prog") != stamped.digest("prog")
    assert before.digest("example.test/a") != stamped.digest("example.test/a")
    assert before.digest("example.test/b") == stamped.digest("example.test/b")
    image = before.find("example.test/a:v1.0.0").spec
    assert isinstance(image, Image) and image.copy_ == {"/prog": "prog"}


GOOD = """\
  one:
    version: v1.2.3
    license: MIT
    source: https://example.test
    files:
      prog:
        pypi: prog
        member: prog
    images:
      example.test/one:{version}:
        copy:
          /prog: prog
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("license: MIT", "licence: MIT", 8, "licence: Extra inputs are not permitted"),
        ("v1.2.3", "latest", 6, "latest is no version"),
        ("pypi: prog", "pypi: prog\n        npm: prog", 11, "exactly one of"),
        ("one:{version}", "one:latest", 6, "needs a tag that stands still"),
        ("example.test/one:{version}", "one:{version}", 6, "must be written with its registry"),
        ("/prog: prog", "/prog: frog", 17, "no component has a file frog"),
        ("copy:", "base: nothing\n        copy:", 16, "neither debian.rootfs nor an image is called nothing"),
        ("copy:", "base: example.test/one:v1.2.3\n        copy:", 16, "is no image to build on: one of ours"),
        ("        member: prog", "        member: [prog", 14, "not valid YAML"),
        ("source: https://example.test", "source: example.test", 9, "should match pattern"),
        ("    license: MIT", "    license: MIT\n    license: MIT", 9, "given twice"),
    ],
)
def test_mistakes_are_shown_with_their_line(
    write_lock: Callable[[str], Path], old: str, new: str, line: int, message: str
) -> None:
    path = write_lock(GOOD.replace(old, new, 1))
    with pytest.raises(ArenaError) as caught:
        Lock.load(path)
    text = str(caught.value)
    assert message in text
    assert f"{path}:{line}" in text
    assert caught.value.exit_code == 2


def test_two_versions_of_a_module_are_refused(write_lock: Callable[[str], Path]) -> None:
    row = "  {0}: {{version: v1, license: MIT, source: https://e.test, module: shared, requires: {{e.test/x: {1}}}}}\n"
    lock = Lock.load(write_lock(row.format("a", "v1.0.0") + row.format("b", "v1.1.0")))
    with pytest.raises(ConfigError, match=r"wanted as v1.0.0 by a and as v1.1.0 by b"):
        lock.requirements("shared")


def test_fields_of_files_that_are_not_used_change_no_digest(write_lock: Callable[[str], Path]) -> None:
    row = "  a: {{version: v1, license: MIT, source: https://e.test, files: {{a: {{npm: a{0}}}}}}}\n"
    plain = Lock.load(write_lock(row.format(""))).digest("a")
    assert Lock.load(write_lock(row.format(", wheels: {}, pythons: [], package: ''"))).digest("a") == plain
