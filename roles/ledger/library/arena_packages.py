#!/usr/bin/python
"""Debian packages that a role needs, in one task that is instant when nothing is missing.

Unlike `apt`, it needs no python3-apt on the target (which `apt` would install and leave there), and never starts a
service that a package brings: the role configures it first. What came in is found by the ledger, not here.
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: arena_packages
short_description: install Debian packages without recommends and without starting their services
options:
  names: {type: list, elements: str, required: true}
"""

RETURN = """
versions: {type: dict, description: package name to installed version}
"""

POLICY = "/usr/sbin/policy-rc.d"
LISTS = "/var/lib/apt/lists"
FRESH = 24 * 3600  # seconds for which apt's lists are believed


def installed(module, names):
    _, out, _ = module.run_command(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n"] + names)
    rows = [line.split() for line in out.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def lists_are_fresh():
    try:
        times = [
            entry.stat().st_mtime for entry in os.scandir(LISTS) if entry.name.endswith(("Packages", "Packages.lz4"))
        ]
    except OSError:
        return False
    return bool(times) and max(times) > time.time() - FRESH


def apt(module, *arguments):
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    command += [
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "Dpkg::Use-Pty=0",
    ]
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return module.run_command(command + list(arguments), environ_update=environment)


def install(module, missing):
    ours = not os.path.lexists(POLICY)
    if ours:
        with open(POLICY, "w") as out:
            out.write("#!/bin/sh\nexit 101\n")
        os.chmod(POLICY, 0o755)
    try:
        return apt(module, "install", "--no-install-recommends", *missing)
    finally:
        if ours:
            os.unlink(POLICY)


def main():
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    names = list(dict.fromkeys(module.params["names"]))
    if not os.path.exists("/usr/bin/apt-get"):
        module.fail_json(msg="this host has no apt-get; arena-install sets up Debian and Ubuntu hosts")
    found = installed(module, names)
    missing = [name for name in names if name not in found]
    if missing and not module.check_mode:
        updated = lists_are_fresh()
        for attempt in (1, 2):
            if not updated or attempt == 2:
                rc, out, err = apt(module, "update")
                if rc != 0:
                    module.fail_json(msg="apt-get update failed: {0}".format((err or out).strip()), rc=rc)
            rc, out, err = install(module, missing)
            if rc == 0:
                break
            if attempt == 2 or not updated:
                module.fail_json(
                    msg="apt-get install {0}: {1}".format(" ".join(missing), (err or out).strip()[-2000:]), rc=rc
                )
        found = installed(module, names)
    module.exit_json(changed=bool(missing), installed=missing, versions=found)


if __name__ == "__main__":
    main()
