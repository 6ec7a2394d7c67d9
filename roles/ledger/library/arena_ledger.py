#!/usr/bin/python
"""What a role owns on this host, written where the host itself keeps it: /var/lib/arena-install/roles/<role>/.

begin: before the role changes anything, note the intent, how each item is now (once: `before`), a copy of files that
were there before us (../../backup/<path>), and which packages are installed; put back of what is not as recorded that
which no task of a role looks at. end: observe the items and write them,
note the packages that came in between. leave: note of several roles that they are about to be reset, so that a reset
that is cut off shows. reset: put every item back to what `before` says, remove the packages that came with the role,
forget the record. drop: remove those of the items that were not there before, and nothing else.

What the role did not put back as recorded (a package of a newer version, say) is recorded anew, and named.

Only the outcome counts as a change: a run that ends with the record it found reports nothing, and writes it back as
it was, so that `at` is the time of the last real change.
"""

import os
import shutil
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: arena_ledger
short_description: begin, end or reset the record of a role on this host
options:
  state: {type: str, required: true, choices: [begin, end, leave, reset, drop]}
  role: {type: str, description: all but leave}
  roles: {type: list, elements: str, description: leave}
  inputs: {type: str, description: digest of what decided the role's outcome, empty when unknown}
  items: {type: list, elements: str, description: kind|name lines}
  observe: {type: str, description: text of observe.sh; not for leave}
  root: {type: str, default: /var/lib/arena-install}
"""


class Ledger:
    def __init__(self, root, role, observe):
        self.root, self.observe = root, observe
        self.folder = os.path.join(root, "roles", role)
        self.role = role

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        try:
            with open(self.path(name)) as lines:
                return lines.read().splitlines()
        except FileNotFoundError:
            return []

    def write(self, name, lines):
        """Replace one file of the record whole, so that a reader never sees half of it."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        for folder in (self.root, os.path.join(self.root, "roles"), self.folder):
            os.chmod(folder, 0o700)
        fresh = self.path("." + name)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write("".join(line + "\n" for line in lines))
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, self.path(name))

    def remove(self, name):
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            pass

    def fields(self, name):
        return dict(line.split("=", 1) for line in self.read(name) if "=" in line)

    def look(self, items):
        """kind|name lines -> kind|name|state lines."""
        if not items:
            return []
        done = subprocess.run(
            ["/bin/sh", "-c", self.observe], input="\n".join(items) + "\n", capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    def backup_of(self, path):
        return os.path.join(self.root, "backup", path.lstrip("/"))


def installed_packages():
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return set()
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith("installed ")}


def is_same(old, new):
    """Whether two records say the same; a run by hand knows no digest of inputs and keeps the one recorded."""
    return old.get("status") == "done" and new.get("inputs") in (old.get("inputs"), "")


def begin(ledger, items, inputs, check):
    record, was = ledger.fields("record"), ledger.fields("record.done")
    changed = record.get("status") != "done" and not was
    known = {line.rsplit("|", 1)[0] for line in ledger.read("before")}
    fresh = ledger.look([item for item in with_parents(items) if item not in known])
    changed = put_back(ledger, check) or changed
    if check:
        return changed or bool(fresh)
    for line in fresh:
        keep_copy(ledger, line)
    if fresh:
        ledger.write("before", ledger.read("before") + fresh)
    if not os.path.exists(ledger.path("packages.before")):
        ledger.write("packages.before", sorted(installed_packages()))
    if record.get("status") == "done":
        ledger.write("record.done", ledger.read("record"))
    ledger.write("record", record_lines(ledger.role, "intent", inputs))
    return changed


def put_back(ledger, check):
    """Modes, owners and holds that somebody changed: nothing but the record says what they were. What the role wants
    otherwise by now its tasks set after this."""
    recorded = ledger.read("items")
    found = ledger.look([line.rsplit("|", 1)[0] for line in recorded])
    changed = False
    for (kind, name, was), (_, _, now) in zip(map(split, recorded), map(split, found)):
        if was == now or kind not in ("file", "package") or was.split()[0] != now.split()[0]:
            continue
        if kind == "file" and not was.startswith("link "):
            changed = True
            if not check:
                own(name, *was.split()[1:])
        elif kind == "package":
            changed = True
            if not check:
                run(["apt-mark", "hold" if was.endswith(" hold") else "unhold", name])
    return changed


def with_parents(items):
    """The items and, before each path, those folders above it that are not there yet: they come and go with it."""
    wanted = {}
    for item in items:
        kind, name = item.split("|", 1)
        missing = []
        while kind in ("file", "path") and not os.path.isdir(os.path.dirname(name)):
            name = os.path.dirname(name)
            missing.append("file|" + name)
        wanted.update(dict.fromkeys(missing[::-1] + [item]))
    return list(wanted)


def keep_copy(ledger, line):
    """Copy a file that is there before us, once. A link or a folder needs none: `before` says all of it."""
    kind, name, state = split(line)
    backup = ledger.backup_of(name)
    if kind != "file" or state == "absent" or state.startswith(("dir ", "link ")) or os.path.exists(backup):
        return
    os.makedirs(os.path.dirname(backup), mode=0o700, exist_ok=True)
    shutil.copy2(name, backup + ".part")
    about = os.stat(name)
    os.chown(backup + ".part", about.st_uid, about.st_gid)
    os.replace(backup + ".part", backup)


def end(ledger, items, inputs, check):
    found = ledger.look(list(dict.fromkeys(items)))
    was = ledger.fields("record.done")
    packages = ledger.read("packages")
    before = ledger.read("packages.before")
    came = sorted((installed_packages() - set(before)) - set(packages)) if before else []
    same = is_same(was, {"inputs": inputs}) and found == ledger.read("items") and not came
    if check:
        return not same, []
    taken = others(ledger.read("items"), found) if is_same(was, {"inputs": inputs}) else []
    if found != ledger.read("items") or not os.path.exists(ledger.path("items")):
        ledger.write("items", found)
    if came:
        ledger.write("packages", packages + came)
    if same:
        ledger.write("record", ledger.read("record.done"))
    else:
        ledger.write("record", record_lines(ledger.role, "done", inputs))
    ledger.remove("record.done")
    ledger.remove("packages.before")
    return not same, taken


def others(recorded, found):
    """Items that were there and are not as recorded, though nothing that decides them changed: "file /x" and so on."""
    now = {line.rsplit("|", 1)[0]: line for line in found}
    differ = [line for line in recorded if now.get(line.rsplit("|", 1)[0], line) != line]
    return ["{0} {1}".format(*split(line)[:2]) for line in differ]


def record_lines(role, status, inputs):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return ["role=" + role, "status=" + status, "inputs=" + inputs, "at=" + now]


def split(line):
    kind, rest = line.split("|", 1)
    name, state = rest.rsplit("|", 1)
    return kind, name, state


def leave(ledger, check):
    fields = ledger.fields("record")
    if not os.path.isdir(ledger.folder) or fields.get("status") == "leaving":
        return False
    if not check:
        ledger.write("record", record_lines(ledger.role, "leaving", fields.get("inputs", "")))
        ledger.remove("record.done")
    return True


def drop(ledger, items, check):
    """Remove what came since: the items that were absent before us, and are here now, and folders made for them."""
    there = {line.rsplit("|", 1)[0] for line in ledger.look(items) if not line.endswith("|absent")}
    came = [split(line)[:2] for line in ledger.read("before") if line.endswith("|absent")]
    wanted = sorted((item for item in came if "|".join(item) in there), reverse=True)  # a folder after what is in it
    for kind, name in wanted if not check else []:
        remove(kind, name)
    for kind, name in sorted(came, reverse=True) if not check else []:
        if kind == "file" and any(other.startswith(name + "/") for _, other in wanted):
            clear(name)
    return ["{0} {1}".format(*item) for item in wanted]


def reset(ledger, check):
    if not os.path.isdir(ledger.folder):
        return []
    before = [split(line) for line in ledger.read("before")]
    now = {line.rsplit("|", 1)[0]: split(line)[2] for line in ledger.look(["|".join(item[:2]) for item in before])}
    differ = [item for item in before if now["|".join(item[:2])] != item[2]]
    packages = sorted((set(ledger.read("packages")) | came_unfinished(ledger)) & installed_packages())
    done = ["{0} {1}".format(kind, name) for kind, name, _ in differ] + ["package " + name for name in packages]
    if check:
        return done
    stop_units([item for item in differ if item[0] == "unit"])
    for kind, name, state in sorted(differ, key=lambda item: item[1], reverse=True):  # what lies in a folder before it
        if kind == "file":
            restore_file(ledger, name, state)
        elif state == "absent":
            remove(kind, name)
    if packages:
        done += purge(packages)
        # A package takes along what is called as its own settings are, also where that was there before it.
        for kind, name, state in before:
            if kind == "file" and state != "absent" and not os.path.lexists(name):
                restore_file(ledger, name, state)
    if any(kind == "unit" or name.startswith("/etc/systemd/") for kind, name, _ in differ) or packages:
        run(["systemctl", "daemon-reload"])
    start_units([item for item in before if item[0] == "unit"])
    for kind, name, state in differ:
        if kind == "sysctl" and state not in ("absent", "unknown"):
            restore_sysctl(name, state)
    forget(ledger)
    return done


def forget(ledger):
    """The record goes last of all, and with the last one everything: cut off at any point, the next reset sees it."""
    roles = os.path.dirname(ledger.folder)
    last = os.listdir(roles) == [ledger.role]
    if last:
        for name in set(os.listdir(ledger.root)) - {"roles"}:
            remove("path", os.path.join(ledger.root, name))
    for name in sorted(os.listdir(ledger.folder), key=lambda name: name == "record"):
        ledger.remove(name)
    for folder in [ledger.folder] + ([roles, ledger.root] if last else []):
        os.rmdir(folder)


def came_unfinished(ledger):
    """Packages that a role installed which never came to its end."""
    before = ledger.read("packages.before")
    return installed_packages() - set(before) if before else set()


def stop_units(units):
    for _, name, state in units:
        enabled, active = state.split()
        if enabled in ("disabled", "not-found"):
            run(["systemctl", "disable", name])
        if active in ("inactive", "failed"):
            run(["systemctl", "stop", name])
            run(["systemctl", "reset-failed", name])


def start_units(units):
    for _, name, state in units:
        enabled, active = state.split()
        if enabled == "enabled":
            run(["systemctl", "enable", name])
        if active == "active":
            run(["systemctl", "restart", name])


def restore_file(ledger, path, state):
    if state.startswith("link -> "):
        clear(path)
        os.symlink(state[len("link -> ") :], path)
    elif state.startswith("dir "):
        mode, owner = state.split()[1:]
        os.makedirs(path, exist_ok=True)
        own(path, mode, owner)
    elif state == "absent":
        clear(path)
    else:
        backup = ledger.backup_of(path)
        if not os.path.exists(backup):
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(backup, path + ".arena-install")
        own(path + ".arena-install", *state.split()[1:])
        try:
            os.replace(path + ".arena-install", path)
        except OSError:  # a mount point of its own, as a container's /etc/hostname: write into it
            shutil.copyfile(backup, path)
            os.unlink(path + ".arena-install")


def own(path, mode, owner):
    os.chown(path, *(int(part) for part in owner.split(":")))
    os.chmod(path, int(mode, 8))


def clear(path):
    """Remove a file or link; a folder only when nothing is left in it, because what is left is not ours."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)
    except (FileNotFoundError, OSError):
        pass


def remove(kind, name):
    """What came with us and changes by right: a whole folder (never what is mounted in it), a network interface, an
    empty chain of the packet filter (nft refuses to delete one with rules)."""
    if kind == "path" and not os.path.ismount(name):
        run(["rm", "-rf", "--one-file-system", "--", name])
    elif kind == "link":
        run(["ip", "link", "delete", name])
    elif kind == "chain" and shutil.which("nft"):
        run(["nft", "delete", "chain"] + name.split())


def restore_sysctl(name, state):
    try:
        with open("/proc/sys/" + name.replace(".", "/"), "w") as out:
            out.write(state)
    except OSError:
        pass


def purge(packages):
    """dpkg and not apt: it refuses to remove what others need, where apt would take those along."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    subprocess.run(["dpkg", "--purge"] + packages, capture_output=True, env=environment, check=False)
    left = sorted(set(packages) & installed_packages())
    return ["kept " + name + ": another package needs it" for name in left]


def run(command):
    return subprocess.run(command, capture_output=True, check=False).returncode


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["begin", "end", "leave", "reset", "drop"]},
            "role": {"type": "str", "default": ""},
            "roles": {"type": "list", "elements": "str", "default": []},
            "inputs": {"type": "str", "default": ""},
            "items": {"type": "list", "elements": "str", "default": []},
            "observe": {"type": "str", "default": ""},
            "root": {"type": "str", "default": "/var/lib/arena-install"},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    given = module.params
    ledger = Ledger(given["root"], given["role"], given["observe"])
    if given["state"] == "leave":
        ledgers = [Ledger(given["root"], role, "") for role in given["roles"]]
        module.exit_json(changed=any([leave(each, module.check_mode) for each in ledgers]))
    if given["state"] in ("reset", "drop"):
        check = module.check_mode
        done = reset(ledger, check) if given["state"] == "reset" else drop(ledger, given["items"], check)
        module.exit_json(changed=bool(done), restored=done)
    inputs = given["inputs"] or ""
    if given["state"] == "begin":
        module.exit_json(changed=begin(ledger, given["items"], inputs, module.check_mode))
    changed, taken = end(ledger, given["items"], inputs, module.check_mode)
    module.exit_json(changed=changed, recorded_anew=taken)


if __name__ == "__main__":
    main()
