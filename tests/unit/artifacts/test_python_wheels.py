"""Many wheels as one file: exact versions of the lock, for a Python that need not be ours, without what is dropped."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from arena_install.artifacts import converters, load_lock, python
from arena_install.artifacts.lock import File, Lock
from arena_install.errors import ConfigError, StepError

ROW = "  tf: {{version: 2.1.0, license: MIT, source: https://e.test, files: {{tf: {{{0}}}}}}}\n"
GOOD = "pythons: ['3.13'], wheels: {tensorflow-cpu: '{version}', certifi: 2026.1.2.post1}"


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("wheels: {a: 1.0.0}", "wheels and pythons go together"),
        ("wheel: a, pythons: ['3.13']", "wheels and pythons go together"),
        ("pythons: ['3.13'], wheels: {a: '>=1'}", "one exact version each: a >=1"),
        ("pythons: ['3.13'], wheels: {a: 1.*}", "one exact version each"),
        ("pythons: ['3'], wheels: {a: 1.0.0}", "should match pattern"),
        ("wheel: a, drop: [x]", "drop and strip are for what wheels alone bring"),
        ("package: arena_cli, npm: y", "exactly one of"),
        ("wheel: a, npm: b", "exactly one of go, pypi, wheel, npm, make, ours, package, wheels"),
    ],
)
def test_what_the_lock_may_not_say(write_lock: Callable[[str], Path], file: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as error:
        Lock.load(write_lock(ROW.format(file)))
    assert "components.lock.yaml:" in error.value.where


def test_versions_are_data_of_the_lock_and_change_its_digest(write_lock: Callable[[str], Path]) -> None:
    lock = Lock.load(write_lock(ROW.format(GOOD)))
    spec = lock.find("tf").spec
    assert isinstance(spec, File) and spec.kind == "wheels"
    assert spec.wheels == {"tensorflow-cpu": "2.1.0", "certifi": "2026.1.2.post1"}
    newer = Lock.load(write_lock(ROW.format(GOOD.replace("2026.1.2", "2026.1.3"))))
    assert newer.digest("tf") != lock.digest("tf")


def test_files_that_have_no_wheels_keep_their_digest(write_lock: Callable[[str], Path]) -> None:
    """They are younger than the recipe: no cluster is to see another kubelet for them. The figure is the one that the
    version before them computed for this lock."""
    lock = Lock.load(write_lock(ROW.format("wheel: nvidia-ml-py")))
    assert lock.digest("tf") == "ed8a1e6087d7c975c93c2f1291ffbeda0c9deb2be2dc80daa81ef313e251ffe4"


def test_the_shipped_image_states_all_that_tensorflow_imports() -> None:
    spec = load_lock().find("tensorflow").spec
    assert isinstance(spec, File)
    assert {"tensorflow-cpu", "numpy", "protobuf", "requests"} <= spec.wheels.keys()
    assert not {"keras", "tensorboard", "libclang"} & spec.wheels.keys()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the package manager would be told."""
    seen: list[list[str]] = []
    monkeypatch.setattr(python.child, "run", lambda argv, **_: seen.append(list(argv)))
    return seen


@pytest.mark.parametrize("client", ["uv", "pip3"])
def test_wheels_are_asked_for_by_exact_version_and_without_what_they_depend_on(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    monkeypatch.setattr(python.shutil, "which", lambda name: f"/usr/bin/{name}" if name == client else None)
    monkeypatch.setattr(python.importlib.util, "find_spec", lambda _: None)
    python.install_for("3.13", {"a": "1.0", "b": "2.0"}, tmp_path / "t", tmp_path / "log", {})
    python.install("c", "3.0", tmp_path / "t", tmp_path / "log", {})
    many, one = asked
    assert many[-4:] == ["--only-binary", ":all:", "a==1.0", "b==2.0"] and one[-1] == "c==3.0"
    assert all("--no-deps" in argv and argv[argv.index("--target") + 1] == f"{tmp_path}/t" for argv in asked)
    assert many[many.index("--python-version") + 1] == "3.13" and "--python-version" not in one
    assert ("--ignore-requires-python" in many) == (client == "pip3")
    platforms = {"uv": ["x86_64-manylinux_2_28"], "pip3": ["manylinux_2_28_x86_64", "manylinux2014_x86_64"]}[client]
    assert all(platform in many for platform in platforms)


def test_modules_are_packed_without_scripts_and_what_is_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    kept = ["a/__init__.py", "a/core.so", "a-1.0.dist-info/METADATA", "numpy/core/x.py"]
    names = [*kept, "a/include/x.h", "a/include/deep/y.h", "numpy/core/tests/t.py", "bin/tool", "a/x.pyc", ".lock"]
    for name in [*names, "a-1.0.dist-info/RECORD"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    drop = ["a/include/*", "numpy/*/tests/*"]
    converters.python_modules(folder, tmp_path / "one.tar", drop)
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = {member.name: member for member in tar}
        assert sorted(members) == sorted(kept)
        assert {(member.mode, member.mtime, member.uid) for member in members.values()} == {(0o644, 0, 0)}
    converters.python_modules(folder, tmp_path / "two.tar", drop)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with pytest.raises(StepError, match=r"no file of these wheels is other"):
        converters.python_modules(folder, tmp_path / "three.tar", [*drop, "other/*"])
