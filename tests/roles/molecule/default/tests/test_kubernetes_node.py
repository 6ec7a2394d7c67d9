"""kubernetes_node: kubelet and kubeadm of one version, run by systemd."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


def test_kubelet_runs(host: Host) -> None:
    assert host.service("kubelet").is_enabled
    assert host.service("kubelet").is_running


def test_programs_are_of_one_version(host: Host) -> None:
    kubelet = host.check_output("/usr/local/bin/kubelet --version").removeprefix("Kubernetes ")
    assert host.check_output("/usr/local/bin/kubeadm version -o short") == kubelet
    assert kubelet.startswith("v1.")


def test_programs_are_roots(host: Host) -> None:
    for name in ("kubelet", "kubeadm"):
        program = host.file(f"/usr/local/bin/{name}")
        assert (program.user, program.mode) == ("root", 0o755), name


def test_kubectl_is_where_it_is_of_use(host: Host) -> None:
    groups = host.ansible.get_variables()["group_names"]
    assert host.file("/usr/local/bin/kubectl").exists == ("control_plane" in groups)
