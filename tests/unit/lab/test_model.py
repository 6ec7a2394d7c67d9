"""Names, addresses and shapes of labs, and the files of their state folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from arena_install.errors import ConfigError, StepError
from arena_install.inventory import load
from arena_install.inventory.config import Lab
from arena_install.lab import Access, LabInfo, files, hosts, inventory_file, network, shape, shell_command
from arena_install.lab.model import folder, joined, saved, wanted_hosts

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARENA_INSTALL_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def lab(control_planes: int = 1, workers: int = 2, access: Access | None = None, name: str = "dev") -> LabInfo:
    wanted = wanted_hosts(name, Lab(control_planes=control_planes, workers=workers), "10.89.3.0/24")
    return LabInfo(name, "10.89.3.0/24", wanted, access or Access())


def described(info: LabInfo) -> LabInfo:
    info.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.key_pair(info)
    files.passwords(info)
    files.write_access(info, {host.name: f"{KEY}{number}" for number, host in enumerate(info.hosts)})
    files.save(info)
    return info


def test_names_and_addresses_depend_on_the_number_alone() -> None:
    small, large = lab(1, 2), lab(3, 50)
    assert [(host.name, host.address) for host in small.hosts] == [
        ("dev-cp1", "10.89.3.11"), ("dev-w1", "10.89.3.21"), ("dev-w2", "10.89.3.22"),
    ]
    assert set(small.hosts) <= set(large.hosts)
    assert len({host.address for host in large.hosts}) == 53


def test_growing_keeps_what_is_there_and_shrinking_removes_nothing() -> None:
    both = joined(lab(1, 1), wanted_hosts("dev", Lab(control_planes=3, workers=0), "10.89.3.0/24"))
    assert [host.name for host in both.hosts] == ["dev-cp1", "dev-cp2", "dev-cp3", "dev-w1"]


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "1a", "a_b", "a" * 33, "a/b", "..", "a b", "ä"])
def test_names_that_no_host_can_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        folder(name)


def test_shapes_that_make_no_sense_are_refused() -> None:
    assert shape(Lab(), workers=5).workers == 5 and shape(Lab(workers=0)).control_planes == 1
    with pytest.raises(ConfigError, match="shape") as error:
        shape(Lab(), control_planes=2)
    assert "odd" in error.value.why


@pytest.mark.parametrize("access", [Access("Root"), Access(sudo_password=True), Access(port=0), Access("a b")])
def test_access_that_makes_no_sense_is_refused(access: Access) -> None:
    with pytest.raises(ConfigError):
        access.checked()


def test_a_host_is_found_by_its_short_name() -> None:
    assert lab().host("w2") == lab().host("dev-w2")
    with pytest.raises(ConfigError, match="no host w9"):
        lab().host("w9")


def test_macs_are_stable_local_and_distinct() -> None:
    macs = {hosts.mac(lab(1, 50), host) for host in lab(1, 50).hosts}
    assert len(macs) == 51 and all(mac.startswith("02:") for mac in macs)


def test_subnets_avoid_routes_and_other_networks() -> None:
    routes = '[{"dst":"default"},{"dst":"10.89.0.0/23"},{"dst":"10.89.2.7"},{"type":"local","dst":"127.0.0.0/8"}]'
    taken = network.parse_routes(routes)
    assert network.choose_subnet(taken) == IPv4Network("10.89.3.0/24")
    assert network.choose_subnet([IPv4Network("10.0.0.0/8")]) == IPv4Network("172.30.0.0/24")
    with pytest.raises(StepError):
        network.choose_subnet([IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")])


def test_no_candidate_lies_in_the_clusters_own_ranges() -> None:
    own = [IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/12")]
    assert not any(net.overlaps(other) for net in network.candidates() for other in own)


def ansible_says(inventory: Path) -> dict[str, dict[str, object]]:
    tool = Path(sys.executable).parent / "ansible-inventory"
    out = subprocess.run([str(tool), "-i", str(inventory), "--list"], capture_output=True, text=True, check=True).stdout
    return dict(json.loads(out)["_meta"]["hostvars"])


def test_ansible_and_we_read_the_inventory_alike() -> None:
    info = described(lab(access=Access("arena", sudo_password=True, port=2222, jump=True)))
    meaning, cluster = ansible_says(info.inventory), load(info.inventory, None)
    assert set(meaning) == {"dev-cp1", "dev-w1", "dev-w2"}
    assert [host.name for host in cluster.group("control_plane")] == ["dev-cp1"]
    assert cluster.group("gpu") == cluster.group("worker") == (cluster.host("dev-w1"), cluster.host("dev-w2"))
    for host in cluster.hosts:
        assert meaning[host.name]["ansible_user"] == host.user == "arena"
        assert host.port == 2222 and host.become and host.key_file == info.folder / "id_ed25519"
        assert host.become_password == meaning[host.name]["ansible_become_password"]
        assert host.ssh_options["stricthostkeychecking"] == "yes"
        assert host.node_ip == host.address == info.host(host.name).address
    assert cluster.host("dev-cp1").proxy_command is None
    through = cluster.host("dev-w2").proxy_command
    assert through is not None and through.startswith("ssh -W %h:%p -p 2222") and through.endswith("arena@10.89.3.11")
    assert len({host.become_password for host in cluster.hosts}) == 3


def test_without_workers_the_control_plane_has_the_gpus() -> None:
    cluster = load(described(lab(1, 0)).inventory, None)
    assert [host.name for host in cluster.group("gpu")] == ["dev-cp1"]


def test_a_folder_with_a_space_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_INSTALL_STATE", str(tmp_path / "my state"))
    info = described(lab(access=Access(jump=True)))
    host = load(info.inventory, None).host("dev-w1")
    assert host.key_file == info.folder / "id_ed25519"
    assert host.ssh_options["userknownhostsfile"] == str(info.folder / "known_hosts")
    shown = subprocess.run(["ssh", "-G", *shell_command("dev", "w1")[1:]], capture_output=True, text=True, check=True)
    assert f"userknownhostsfile {info.folder / 'known_hosts'}" in shown.stdout
    assert "proxyjump dev-cp1" in shown.stdout and f"identityfile {info.folder / 'id_ed25519'}" in shown.stdout


def test_files_are_private_and_written_only_when_they_change() -> None:
    info = described(lab(access=Access("arena", sudo_password=True)))
    paths = [path for path in info.folder.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths) and info.folder.stat().st_mode & 0o077 == 0
    described(info)
    assert before == {path: path.stat().st_mtime_ns for path in info.folder.rglob("*") if path.is_file()}


def test_pins_name_the_port_where_it_is_not_22() -> None:
    info = lab(1, 0)
    assert files.known_hosts(info, {"dev-cp1": KEY}) == f"10.89.3.11,dev-cp1 {KEY}\n"
    info = replace(info, access=Access(port=2200))
    assert files.known_hosts(info, {"dev-cp1": KEY}) == f"[10.89.3.11]:2200,[dev-cp1]:2200 {KEY}\n"


def test_what_was_saved_is_read_back_and_a_torn_file_is_no_lab() -> None:
    info = described(lab())
    assert saved("dev") == info and saved("other") is None
    (info.folder / "lab.json").write_text('{"name": "dev"')
    assert saved("dev") is None
    assert inventory_file("dev") == info.folder / "hosts.ini"


def test_a_lab_that_does_not_exist_has_no_shell() -> None:
    with pytest.raises(ConfigError, match="no lab named"):
        shell_command("nope", "w1")


def test_the_set_up_script_never_shows_the_password_in_an_argument() -> None:
    info = lab(access=Access("arena", sudo_password=True, port=2222, jump=True))
    script = hosts.setup_script(info, info.host("w1"), KEY, "s3cret")
    lines = [line for line in script.splitlines() if "s3cret" in line]
    assert lines == ["arena:s3cret"]
    assert "ip saddr 10.89.3.1 tcp dport 2222 drop" in script
    assert "drop" not in hosts.setup_script(info, info.host("cp1"), KEY, "s3cret")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
