"""ledger: each role has its record on the hosts that are its own, and the record is true."""

from __future__ import annotations

from pathlib import Path

import yaml
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

ROLES = Path(__file__).resolve().parents[5] / "roles"
RECORDS = "/var/lib/arena-install/roles"


def test_every_role_of_the_host_has_a_record(host: Host) -> None:
    groups = set(host.ansible.get_variables()["group_names"])
    if "control_plane" in groups:
        groups.add("registry")  # where no host is named for it
    components = {path.parent.name: yaml.safe_load(path.read_text()) for path in ROLES.glob("*/component.yaml")}
    own = {role for role, component in components.items() if groups.intersection(component["hosts"])}
    assert set(host.file(RECORDS).listdir()) == own


def test_records_are_for_root_alone(host: Host) -> None:
    assert host.file("/var/lib/arena-install").mode == 0o700
    assert host.check_output("find %s -type f ! -perm 600", RECORDS) == ""


def test_records_say_what_is_there(host: Host) -> None:
    observe = (ROLES / "ledger/files/observe.sh").read_text()
    look = "cat items | sed 's/|[^|]*$//' | sh -c %s | diff items -"
    assert host.check_output(f"for role in {RECORDS}/*; do cd $role; {look}; done", observe) == ""
