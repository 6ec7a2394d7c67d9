"""Near misses, ranges, ssh options: the small judgements that messages rest on."""

from __future__ import annotations

import pytest

from arena_install.inventory import ssh
from arena_install.inventory.names import address_fault, meant, node_name_fault
from arena_install.inventory.scan import expand
from arena_install.suggest import distance


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "abc", 3), ("worker", "worker", 0), ("wroker", "worker", 1), ("workers", "worker", 1), ("ca", "abc", 3),
     ("contol_plnae", "control_plane", 2), ("kitten", "sitting", 3)],
)  # fmt: skip
def test_distance(a: str, b: str, edits: int) -> None:
    assert distance(a, b) == distance(b, a) == edits


@pytest.mark.parametrize(
    ("group", "ours"),
    [("workers", "worker"), ("wroker", "worker"), ("gpus", "gpu"), ("GPU", "gpu"), ("control-plane", "control_plane"),
     ("controlplane", "control_plane"), ("contrl_plnae", "control_plane"), ("kube_master", "kube-master"),
     ("masters", "master"), ("node", "nodes"), ("nfs-servers", "nfs_server"), ("registery", "registry"),
     ("load-balancers", "load_balancer"), ("kube_nodes", "kube_node")],
)  # fmt: skip
def test_a_near_miss_is_a_typo(group: str, ours: str) -> None:
    assert meant(group) == ours


@pytest.mark.parametrize(
    "group",
    ["control_plane", "kube-master", "all", "ungrouped", "kube-deploy", "etcd", "k8s_cluster", "calico_rr", "bastion",
     "docker", "broker", "cpu", "tpu", "web", "db", "app", "api", "gpu2", "gpu_2", "worker-1", "worker_h100", "rack1",
     "monitoring", "storage", "cluster", "prod"],
)  # fmt: skip
def test_the_sites_own_groups_are_left_alone(group: str) -> None:
    assert meant(group) == ""


@pytest.mark.parametrize("name", ["n1", "node-1.site.example", "10.0.0.1", "n" * 63, "0a"])
def test_names_that_can_be_nodes(name: str) -> None:
    assert node_name_fault(name) == ("", "")


@pytest.mark.parametrize("name", ["N1", "n_1", "-n", "n-", "n..1", "n" * 64, "fd00::1", "n 1", "büro", ""])
def test_names_that_cannot(name: str) -> None:
    fault, better = node_name_fault(name)
    assert fault
    assert not better or node_name_fault(better) == ("", "")


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "fe80::1%eth0", "node.example", "my_alias", "HOST1", "a."])
def test_addresses(address: str) -> None:
    assert address_fault(address) == ""


@pytest.mark.parametrize("address", ["10.0.0", "10.0.0.256", "root@n1", "n1:22", "n 1", "-n1", "fd00:::1", "$(id)"])
def test_not_addresses(address: str) -> None:
    assert address_fault(address)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [("n1", ["n1"]), ("n[1:3]", ["n1", "n2", "n3"]), ("n[08:10]", ["n08", "n09", "n10"]),
     ("n[1:5:2]", ["n1", "n3", "n5"]), ("[a:c]-n", ["a-n", "b-n", "c-n"]), ("n[:2]", ["n0", "n1", "n2"]),
     ("r[1:2]n[a:b]", ["r1na", "r1nb", "r2na", "r2nb"])],
)  # fmt: skip
def test_ranges(pattern: str, hosts: list[str]) -> None:
    assert expand(pattern) == hosts


@pytest.mark.parametrize("pattern", ["n[1:", "n1]", "n[1]", "n[1:3:0]", "n[3:1]", "n[1:c]", "n[01:100]", "n[1:9999999]",
                                     "n[0:99]x[0:99]"])  # fmt: skip
def test_bad_ranges(pattern: str) -> None:
    with pytest.raises(ValueError):
        expand(pattern)


@pytest.mark.parametrize(
    ("text", "options"),
    [("-o ProxyJump=a", {"proxyjump": "a"}), ("-oProxyJump=a", {"proxyjump": "a"}), ("-J a", {"proxyjump": "a"}),
     ("-Ja,b", {"proxyjump": "a,b"}), ("-o 'ProxyCommand ssh -W %h:%p b'", {"proxycommand": "ssh -W %h:%p b"}),
     ("-o 'ProxyCommand=ssh -o A=b c'", {"proxycommand": "ssh -o A=b c"}), ("-F /x -C -o A=1 -o a=2", {"a": "1"}),
     ("-i k -p 22 -l me -v", {"identityfile": "k", "port": "22", "user": "me"})],
)  # fmt: skip
def test_ssh_options(text: str, options: dict[str, str]) -> None:
    assert ssh.options(ssh.arguments({"ansible_ssh_common_args": text})) == options
