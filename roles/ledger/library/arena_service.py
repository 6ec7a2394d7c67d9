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
  healthy: {type: list, elements: str, description: command that succeeds when the unit really serves}
  unhealthy: {type: str, description: what to tell when it does not after a restart}
"""


def show(module, name):
    rc, out, err = module.run_command(
        [
            "systemctl",
            "show",
            "-p",
            "LoadState,UnitFileState,ActiveState,SubState,ActiveEnterTimestampMonotonic,NeedDaemonReload",
            name,
        ]
    )
    if rc != 0:
        module.fail_json(msg="systemctl show {0}: {1}".format(name, err.strip()))
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def started_at(state):
    """Unix seconds; systemd gives microseconds since boot, on the clock that stands still in suspend."""
    return (
        time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(state["ActiveEnterTimestampMonotonic"] or 0) / 1e6
    )


def is_healthy(module, command, patience):
    """Whether the command succeeds within `patience` seconds."""
    deadline = time.monotonic() + patience
    while command:
        rc, _, _ = module.run_command(command)
        if rc == 0:
            break
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.2)
    return True


def last_words(module, name):
    _, log, _ = module.run_command(["journalctl", "-u", name, "-n", "15", "--no-pager", "-o", "cat"])
    return log.strip()


def systemctl(module, *arguments):
    rc, out, err = module.run_command(["systemctl"] + list(arguments))
    if rc != 0:
        log = last_words(module, arguments[-1])
        module.fail_json(msg="systemctl {0}: {1}\n{2}".format(" ".join(arguments), (err or out).strip(), log), rc=rc)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "running": {"type": "bool", "default": True},
            "healthy": {"type": "list", "elements": "str", "default": []},
            "unhealthy": {"type": "str", "default": ""},
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
    elif active and not is_healthy(module, given["healthy"], patience=0):
        done.append("restart")
    if not module.check_mode:
        for verb in done:
            systemctl(module, *([verb] if verb == "daemon-reload" else [verb, name]))
        if {"start", "restart"} & set(done) and not is_healthy(module, given["healthy"], patience=30):
            log = last_words(module, name)
            module.fail_json(msg="{0} runs but does not serve. {1}\n{2}".format(name, given["unhealthy"], log))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
