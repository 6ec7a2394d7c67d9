"""What good inventories mean: the forms that people have, from kubespray's old one to YAML with templates and vault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arena_install.errors import ConfigError, ErrorGroup
from arena_install.inventory import Cluster, load, overlay

EXAMPLES = Path(__file__).parents[3] / "inventories"
Write = Callable[[str, "str | bytes"], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.suffix == ".key":
            path.chmod(0o600)
        return path

    return make


def names(cluster: Cluster, group: str) -> list[str]:
    return [host.name for host in cluster.group(group)]


@pytest.mark.usefixtures("remembered")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/hosts.*")), ids=lambda path: path.parent.name)
def test_examples(path: Path) -> None:
    config = path.parent / "cluster.yaml"
    cluster = load(path, config if config.exists() else None)
    assert len(cluster.group("control_plane")) % 2 == 1
    assert len(cluster.group("registry")) == 1
    assert cluster.api_endpoint.endswith(":6443")
    assert cluster.others == ()


def test_kubesprays_old_form(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All machines under [all], masters picked out, no worker group, a key beside the file, run from elsewhere."""
    write("site/deploy.key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
    write("site/ansible.cfg", "[defaults]\ntransform_invalid_group_chars = always\n")
    hosts = "\n".join(
        f"localnode-{n} ansible_host=10.142.18.19{n} ansible_port=22 ansible_user='root' "
        f"ansible_ssh_private_key_file=./deploy.key ip=10.142.18.19{n} ansible_ssh_user=root"
        for n in (2, 3, 1)
    )
    path = write(
        "site/hosts.ini", f"[all]\n{hosts}\n\n[kube-deploy]\nlocalnode-[1:1]\n\n[kube-master]\nlocalnode-[1:1]\n"
    )
    monkeypatch.chdir(path.parent)
    cluster = load(Path("hosts.ini"), None)
    assert names(cluster, "control_plane") == names(cluster, "registry") == ["localnode-1"]
    assert names(cluster, "worker") == ["localnode-2", "localnode-3"]
    first = cluster.host("localnode-1")
    assert (first.address, first.node_ip, first.port, first.user) == ("10.142.18.191",) * 2 + (22, "root")
    assert first.key_file == tmp_path / "site/deploy.key"
    assert str(first.source) == "hosts.ini:4"
    assert not first.become
    assert cluster.api_endpoint == "10.142.18.191:6443"
    assert cluster.taint_control_plane
    assert cluster.inventory == path


def test_ranges_children_and_variables_from_everywhere(write: Write) -> None:
    path = write(
        "hosts.ini",
        "[master]\ncp3\ncp1\ncp2\n\n[rack-a]\ngpu[01:03]\n\n[rack-b]\nnode-[a:b]x[1:2]\n\n[worker:children]\nrack-a\nrack-b\n\n"
        "[gpu:children]\nrack-a\n\n[load_balancer]\nlb1 ansible_host=192.168.9.9\n\n[web]\nweb_01 ansible_port=80\n\n"
        "[kube-deploy]\nlaptop\n\n[rack-a:vars]\nansible_port=2222\n\n[all:vars]\nansible_user=ubuntu\n",
    )
    write("group_vars/all.yml", "ansible_user: debian\nrack: none\n")
    write("group_vars/rack-b/ports.yml", "ansible_port: 2223\n")
    write("host_vars/gpu02.yml", "ansible_host: 10.0.0.2\nansible_port: '2224'\n")
    cluster = load(path, None)
    assert names(cluster, "control_plane") == ["cp3", "cp1", "cp2"]
    assert names(cluster, "registry") == ["cp3"]
    assert names(cluster, "gpu") == ["gpu01", "gpu02", "gpu03"]
    assert names(cluster, "worker") == [*names(cluster, "gpu"), "node-ax1", "node-ax2", "node-bx1", "node-bx2"]
    assert cluster.others == ("laptop", "web_01")
    ports = {host.name: host.port for host in cluster.hosts}
    assert (ports["gpu01"], ports["node-ax1"], ports["gpu02"], ports["cp1"]) == (2222, 2223, 2224, 22)
    assert cluster.host("gpu02").address == cluster.host("gpu02").node_ip == "10.0.0.2"
    assert cluster.host("gpu01").node_ip == ""
    assert {host.user for host in cluster.hosts} == {"debian"}
    assert str(cluster.host("gpu03").source) == f"{path}:7"
    assert cluster.api_endpoint == "192.168.9.9:6443"
    assert cluster.taint_control_plane


def test_every_connection_variable(write: Write) -> None:
    write("keys/id.key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
    path = write(
        "hosts.ini",
        "[control_plane]\ncp1:2022 ansible_host=10.0.0.1 ansible_private_key_file=keys/id.key "
        "ansible_ssh_common_args='-o ProxyJump=ops@jump.example:2200 -o \"UserKnownHostsFile=/a b\"' "
        "ansible_ssh_extra_args='-J other -4' ansible_become=yes ansible_become_method=su ansible_become_user=root "
        "ansible_python_interpreter=/usr/bin/python3.11 colour='deep blue'\n\n[worker]\n"
        "w1 ansible_ssh_host=10.0.0.2 ansible_ssh_port=23 ansible_ssh_user=root "
        "ansible_ssh_pass='pa ss#1' ansible_become=false\n"
        'w2 ansible_host=10.0.0.3 ansible_user=arena ansible_become_pass="it\'s" ansible_password="a" '
        "ansible_ssh_common_args='-o ProxyCommand=\"ssh -W %h:%p -q jump\"' ansible_host_key_checking=false\n"
        "w3 ansible_connection=local ip=10.0.0.4\n",
    )
    cluster = load(path, None)
    cp1, w1, w2, w3 = cluster.hosts
    assert (cp1.port, cp1.user, cp1.key_file) == (2022, None, path.parent / "keys/id.key")
    assert cp1.proxy_jump == "ops@jump.example:2200"
    assert cp1.ssh_options == {"proxyjump": "ops@jump.example:2200", "userknownhostsfile": "/a b"}
    assert cp1.ssh_args[-3:] == ("-J", "other", "-4")
    assert (cp1.become, cp1.become_method, cp1.become_user, cp1.become_password) == (True, "su", "root", None)
    assert (cp1.python, cp1.connection, cp1.host_key_checking) == ("/usr/bin/python3.11", "ssh", True)
    assert cp1.vars["colour"] == "deep blue"
    assert (w1.address, w1.port, w1.user, w1.password, w1.become) == ("10.0.0.2", 23, "root", "pa ss#1", False)
    assert (w2.become, w2.become_password, w2.password) == (True, "it's", "a")
    assert (w2.proxy_command, w2.proxy_jump) == ("ssh -W %h:%p -q jump", None)
    assert not w2.host_key_checking
    assert (w3.connection, w3.address, w3.node_ip) == ("local", "w3", "10.0.0.4")
    assert "pa ss#1" not in repr(cluster)


def test_yaml_with_templates_and_vault(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        "hosts.yaml",
        "all:\n  vars: {site: 10.7.0, ansible_user: '{{ admin }}', admin: ops}\n  children:\n    kube_control_plane:\n"
        "      hosts:\n        cp1: {number: 1}\n    kube_node:\n      hosts:\n        w[2:3]:\n      vars:\n"
        '        number: "{{ inventory_hostname[1:] }}"\n  hosts:\n    cp1:\n      ip: 192.168.7.1\n',
    )
    password = write("password", "opensesame\n")
    vaulted = subprocess.run(
        [Path(sys.executable).parent / "ansible-vault", "encrypt_string", "--vault-password-file", password, "s3cret"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "LC_ALL": "C.UTF-8"},
    ).stdout
    write("group_vars/all.yml", f"ansible_host: '{{{{ site }}}}.{{{{ number }}}}'\nansible_become_password: {vaulted}")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    cluster = load(path, None)
    assert {host.name: host.address for host in cluster.hosts} == {
        "cp1": "10.7.0.1",
        "w2": "10.7.0.2",
        "w3": "10.7.0.3",
    }
    assert [host.node_ip for host in cluster.hosts] == ["192.168.7.1", "10.7.0.2", "10.7.0.3"]
    assert {host.user for host in cluster.hosts} == {"ops"}
    assert {host.become_password for host in cluster.hosts} == {"s3cret"}
    assert str(cluster.host("w3").source) == f"{path}:9"


def test_templates_see_other_hosts_and_one_that_fails_is_said_once(write: Write) -> None:
    path = write(
        "hosts.ini", "[control_plane]\ncp1 number=1\n\n[worker]\nw[2:4] number='{{ inventory_hostname[1:] }}'\n"
    )
    write(
        "group_vars/all.yml",
        "ansible_host: 10.0.0.{{ number }}\nansible_port: \"{{ 2000 + hostvars['cp1'].number }}\"\n",
    )
    cluster = load(path, None)
    assert [(host.address, host.port) for host in cluster.hosts] == [(f"10.0.0.{n}", 2001) for n in (1, 2, 3, 4)]
    users = write("group_vars/worker.yml", "\nansible_user: '{{ admin }}'\nansible_ssh_pass: '{{ nobodys }}'\n")
    with pytest.raises(ErrorGroup) as caught:
        load(path, None)
    assert [(error.where, error.why) for error in caught.value.errors] == [
        (f"{users}:3", "'nobodys' is undefined"),
        (f"{users}:2", "'admin' is undefined"),
    ]


def test_byte_order_mark_and_windows_line_ends(write: Write) -> None:
    text = "[control_plane]\r\ncp1\r\n\r\n[worker]\r\nw1 ansible_port=2222\r\n\r\n[all:vars]\r\nansible_user=ops\r\n"
    path = write("hosts.ini", b"\xef\xbb\xbf" + text.encode())
    write("host_vars/cp1.yml", "\ufeffansible_host: 10.0.0.1\r\n")
    config = write("cluster.yaml", b"\xef\xbb\xbfname: windows\r\nprofile: full\r\n")
    cluster = load(path, config)
    assert (cluster.name, cluster.config.profile) == ("windows", "full")
    assert (cluster.host("cp1").address, cluster.host("cp1").user, cluster.host("w1").port) == ("10.0.0.1", "ops", 2222)
    assert cluster.inventory is not None
    assert not cluster.inventory.read_bytes().startswith(b"\xef\xbb\xbf")  # Ansible is given a copy that it can read
    assert str(cluster.host("w1").source) == f"{path}:5"


def test_one_machine_takes_the_jobs(write: Write) -> None:
    cluster = load(write("hosts.ini", "[control_plane]\nbox ansible_host=10.0.0.1\n\n[gpu]\nbox\n"), None)
    assert names(cluster, "worker") == []
    assert cluster.host("box").groups == {"control_plane", "gpu", "registry"}
    assert not cluster.taint_control_plane


def test_a_gpu_host_is_a_worker_and_a_worker_may_be_a_control_plane(write: Write) -> None:
    cluster = load(write("hosts.ini", "[control_plane]\ncp1\n\n[worker]\ncp1\n\n[gpu]\ng1\n\n[registry]\ng1\n"), None)
    assert names(cluster, "worker") == ["cp1", "g1"]
    assert names(cluster, "registry") == ["g1"]
    assert not cluster.taint_control_plane


def test_forwarded_ports_are_different_machines(write: Write) -> None:
    """Vagrant's and a NAT's way: one address, a port each; the nodes' own addresses stand in ip=."""
    text = "[control_plane]\ncp1 ansible_port=2222 ip=10.0.0.1\n[worker]\nw1 ansible_port=2200\n"
    text += "[all:vars]\nansible_host=127.0.0.1\n"
    cluster = load(write("hosts.ini", text), None)
    assert [host.node_ip for host in cluster.hosts] == ["10.0.0.1", ""]


def test_an_inventory_may_be_a_folder_or_a_program(write: Write) -> None:
    write("site/10-planes.ini", "[control_plane]\ncp1 ansible_host=10.0.0.1\n")
    program = write(
        "site/20-workers.py",
        "#!/usr/bin/env python3\nimport json\n"
        "variables = {'w1': {'ansible_host': '10.0.0.2'}}\n"
        "print(json.dumps({'worker': {'hosts': ['w1']}, '_meta': {'hostvars': variables}}))\n",
    )
    program.chmod(0o755)
    cluster = load(program.parent, None)
    assert {host.name: host.address for host in cluster.hosts} == {"cp1": "10.0.0.1", "w1": "10.0.0.2"}
    assert str(cluster.host("cp1").source) == f"{program.parent}/10-planes.ini:2"


def test_a_file_that_is_executable_is_still_ini(write: Write) -> None:
    path = write("hosts", "[control_plane]\ncp1\n")
    path.chmod(0o755)
    assert [host.name for host in load(path, None).hosts] == ["cp1"]


def test_overlay_tells_ansible_what_load_saw(write: Write) -> None:
    write("id.key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
    path = write(
        "hosts.ini", "[all]\nn[1:2] ansible_ssh_private_key_file=id.key ansible_password=x\n\n[kube-master]\nn1\n"
    )
    cluster = load(path, None)
    text = json.dumps(overlay(cluster))
    assert "ansible_password" not in text
    after = write("after.json", text)
    answer = subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", path, "-i", after, "--list"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    seen = json.loads(answer.stdout)
    assert seen["control_plane"]["hosts"] == seen["registry"]["hosts"] == ["n1"]
    assert seen["worker"]["hosts"] == ["n2"]
    variables = seen["_meta"]["hostvars"]["n2"]
    assert variables["ansible_ssh_private_key_file"] == str(path.parent / "id.key")
    assert variables["ansible_password"] == "x"


def test_a_key_that_others_can_read(write: Write) -> None:
    """ssh would refuse it, and say so once per host."""
    key = write("id.key", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o644)
    path = write(
        "hosts.ini", "[control_plane]\ncp[1:3]\n\n[load_balancer]\nlb1\n\n[all:vars]\nansible_private_key_file=id.key\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, None)
    assert caught.value.where == f"{path}:8"
    assert caught.value.fix == f"chmod 600 {key}"


def test_no_inventory_is_a_cluster_without_hosts(write: Write) -> None:
    cluster = load(None, write("cluster.yaml", "name: mine\n"))
    assert (cluster.name, cluster.hosts, cluster.inventory) == ("mine", (), None)
    assert load(None, None).name == "arena"


def test_all_errors_of_both_files_at_once(write: Write) -> None:
    inventory = write("hosts.ini", "[control_plane]\ncp_1\n\n[workers]\nw1 ansible_hots=10.0.0.1\nw2:ssh\n")
    config = write(
        "cluster.yaml", "nmae: x\nprofile: big\nkubernetes:\n  pod_cidr: 10.0.0.0\n  pod_cidr: 10.1.0.0/16\n"
    )
    with pytest.raises(ErrorGroup) as caught:
        load(inventory, config)
    assert [error.where.rpartition("/")[2] for error in caught.value.errors] == [
        *("cluster.yaml:1", "cluster.yaml:2", "cluster.yaml:5"),
        *("hosts.ini:5", "hosts.ini:6", "hosts.ini:4", "hosts.ini:2"),
    ]
    assert caught.value.exit_code == 2
