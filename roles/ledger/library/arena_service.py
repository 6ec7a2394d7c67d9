#!/usr/bin/python
"""A systemd unit that is enabled and runs with the files it has now.

"Changed, so restart" is lost when a run dies between the change and the restart. Here the question is put to the
host: did the unit start before one of its files was last changed? So the next run restarts what the dead one did not,
and nothing is ever restarted without need.
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: arena_service
short_description: enable a unit, start it, restart it when older than its files
options:
  name: {type: str, required: true}
  files: {type: list, elements: path, default: []}
  running: {type: bool, default: true, description: "false: do not start it, restart it only if it runs"}
  wait_for_socket: {type: path, description: wait until this socket exists}
"""


def show(module, name):
    rc, out, err = module.run_command(
        ["systemctl", "show", "-p", "LoadState,UnitFileState,ActiveState,SubState,ActiveEnterTimestampMonotonic,NeedDaemonReload", name]
    )
    if rc != 0:
        module.fail_json(msg="systemctl show {0}: {1}".format(name, err.strip()))
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def started_at(state):
    """Unix seconds; systemd gives microseconds since boot, on the clock that stands still in suspend."""
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(state["ActiveEnterTimestampMonotonic"] or 0) / 1e6


def systemctl(module, *arguments):
    rc, out, err = module.run_command(["systemctl"] + list(arguments))
    if rc != 0:
        _, log, _ = module.run_command(["journalctl", "-u", arguments[-1], "-n", "15", "--no-pager", "-o", "cat"])
        module.fail_json(msg="systemctl {0}: {1}\n{2}".format(" ".join(arguments), (err or out).strip(), log.strip()), rc=rc)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "running": {"type": "bool", "default": True},
            "wait_for_socket": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given, done = module.params, []
    name = given["name"]
    state = show(module, name)
    if state["LoadState"] == "not-found" or state["NeedDaemonReload"] == "yes":
        done.append("daemon-reload")
    if state["UnitFileState"] not in ("enabled", "static", "indirect", "generated", "alias"):
        done.append("enable")
    active = state["ActiveState"] in ("active", "activating", "reloading")
    newest = max([os.stat(path).st_mtime for path in given["files"] if os.path.exists(path)] or [0])
    if active and newest > started_at(state) + 0.01:
        done.append("restart")
    elif given["running"] and not active:
        done.append("start")
    if not module.check_mode:
        for verb in done:
            systemctl(module, *([verb] if verb == "daemon-reload" else [verb, name]))
        socket = given["wait_for_socket"]
        deadline = time.monotonic() + 30
        while socket and ("restart" in done or "start" in done) and not os.path.exists(socket):
            if time.monotonic() > deadline:
                systemctl(module, "is-active", name)
                module.fail_json(msg="{0} runs but {1} does not appear after 30 s".format(name, socket))
            time.sleep(0.1)
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
