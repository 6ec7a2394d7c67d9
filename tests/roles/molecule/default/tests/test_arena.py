"""arena: the command works for root as it is, by its own modules alone, and knows nothing of a cluster for others."""

from __future__ import annotations

import json

from testinfra.host import Host

testinfra_hosts = ["ansible://control_plane"]


def test_the_command_talks_to_the_cluster(host: Host) -> None:
    assert host.file("/usr/local/bin/arena").linked_to == "/opt/arena-install/arena/bin/arena"
    assert json.loads(host.check_output("arena list -A -o json")) == []
    assert "control-plane" in host.check_output("arena top node")


def test_it_makes_objects_by_its_own_charts_and_helm(host: Host) -> None:
    assert host.file("/charts").linked_to == "/opt/arena-install/arena/lib/arena_install/data/charts"
    made = host.check_output("arena submit pytorchjob --name a --image b:1 --dry-run true")
    assert "kind: PyTorchJob" in made
    assert "v3." in host.check_output("arena-helm version --short")


def test_it_reads_yaml_by_the_fast_loader(host: Host) -> None:
    modules = "/opt/arena-install/arena/lib"
    loader = f"import sys; sys.path.insert(0, '{modules}'); from arena_install import fastyaml; print(fastyaml.LOADER)"
    assert "CSafeLoader" in host.check_output(f'python3 -IS -c "{loader}"')


def test_what_a_host_has_of_python_does_not_change_it(host: Host) -> None:
    host.run_expect([0], "mkdir -p /tmp/other && echo 'raise SystemExit(9)' >/tmp/other/click.py")
    try:
        host.run_expect([0], "cd /tmp/other && PYTHONPATH=/tmp/other arena version --short")
    finally:
        host.run_expect([0], "rm -r /tmp/other")


def test_others_need_a_kubeconfig_of_their_own(host: Host) -> None:
    done = host.run("setpriv --reuid 65534 --clear-groups env -u KUBECONFIG HOME=/nonexistent arena list")
    assert done.rc == 2
    assert "there is no kubeconfig" in done.stderr


def test_bash_completes_it(host: Host) -> None:
    asked = "COMP_WORDS='arena sub' COMP_CWORD=1 _ARENA_COMPLETE=bash_complete arena"
    assert host.check_output(asked).split(",")[-1] == "submit"
    assert "_ARENA_COMPLETE=bash_complete" in host.file("/etc/bash_completion.d/arena").content_string
