"""The Vagrantfile: one topology file gives the same hosts as virtual machines and as containers. No machine is made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from arena_install import inventory, lab
from arena_install.inventory.config import Lab
from arena_install.lab.model import wanted_hosts
from arena_install.paths import data_dir

VAGRANT = data_dir() / "vagrant"
SUBNET = "192.168.56.0/24"

pytestmark = pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed: apt-get install vagrant")


def validate(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Vagrant keeps a folder beside the Vagrantfile, so that it works on a copy."""
    shutil.copytree(VAGRANT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".vagrant"))
    given = {**os.environ, "VAGRANT_HOME": str(folder / "home"), "HOME": str(folder), **env}
    command = ["vagrant", "validate", "--ignore-provider"]
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def ruby(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ruby", "-rjson", "-I", str(VAGRANT), "-rtopology", "-e", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def machines(file: Path, name: str = "lab") -> list[tuple[str, str, str]]:
    done = ruby("puts JSON.dump(Topology.machines(*ARGV).map(&:to_a))", str(file), name)
    assert done.returncode == 0, done.stderr
    return [(name, role, address) for name, role, address in json.loads(done.stdout)]


def test_vagrant_takes_the_file(tmp_path: Path) -> None:
    done = validate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in done.stdout for name in ("vagrant-cp1", "vagrant-w1", "vagrant-w2"))


@pytest.mark.parametrize("shape", [Lab(), Lab(control_planes=3, workers=5), Lab(workers=0)])
def test_the_machines_are_those_of_the_container_lab(tmp_path: Path, shape: Lab) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"lab:\n  control_planes: {shape.control_planes}\n  workers: {shape.workers}\n")
    assert inventory.load(None, file).config.lab == shape
    assert machines(file) == [(host.name, host.role, host.address) for host in wanted_hosts("lab", shape, SUBNET)]


def test_a_topology_may_say_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("profile: full\n")
    assert len(machines(file)) == 3


@pytest.mark.parametrize(("workers", "gpus"), [(2, ["lab-w1", "lab-w2"]), (0, ["lab-cp1"])])
def test_the_inventory_reads_as_the_lab_does(tmp_path: Path, workers: int, gpus: list[str]) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"lab: {{workers: {workers}}}\n")
    key = tmp_path / "a key"
    key.touch(mode=0o600)
    known = tmp_path / "known_hosts"
    known.touch()
    script = (
        "found = Topology.machines(ARGV[0], 'lab'); keys = found.to_h { |m| [m.name, ARGV[1]] };"
        "print Topology.inventory(found, keys, user: 'vagrant', known_hosts: ARGV[2], simulated: true)"
    )
    hosts = tmp_path / "hosts.ini"
    hosts.write_text(ruby(script, str(file), str(key), str(known)).stdout)
    cluster = inventory.load(hosts, file)
    assert [host.name for host in cluster.group("control_plane")] == ["lab-cp1"]
    assert [host.name for host in cluster.group("gpu")] == gpus
    assert cluster.host("lab-cp1").node_ip == "192.168.56.11"
    assert cluster.host("lab-cp1").key_file == key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lab: {control_planes: 2}", "lab.control_planes is 2, expected 1, 3, 5"),
        ("lab: {workers: -1}", "lab.workers is -1, expected 0 to 50"),
        ("lab: {workers: many}", 'lab.workers is "many", expected 0 to 50'),
        ("- a list", "expected a mapping with `lab:`"),
        ("lab: [", "mine.yaml): did not find"),
        (None, "there is no such file"),
    ],
)
def test_a_wrong_topology_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text + "\n")
    script = "begin; Topology.machines(*ARGV); rescue Topology::Mistake => e; abort(e.message); end"
    done = ruby(script, str(file), "lab")
    assert done.returncode == 1
    assert said in done.stderr
    assert str(file) in done.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [({"ARENA_LAB": "Lab_1"}, "1-32 lower-case letters"), ({"ARENA_MEMORY": "4G"}, '"4G" is no positive number')],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, env: dict[str, str], said: str) -> None:
    done = validate(tmp_path, **env)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1, "a Ruby backtrace"


def test_labs_are_known_by_one_rule() -> None:
    """The Ruby side and ours agree on names."""
    for name in ("a", "lab", "x" * 32):
        assert lab.inventory_file(name)
        assert ruby("exit ARGV[0].match?(Topology::NAME)", name).returncode == 0
    for name in ("", "1a", "a-", "x" * 33, "a\nb"):
        assert ruby("exit ARGV[0].match?(Topology::NAME)", name).returncode == 1
