#!/usr/bin/python
"""Bring many files, folders and links to a wanted state in one task.

A task costs a round trip and a Python start on every host, and a role has a dozen small files: one call for all of
them is what keeps a play short. Each entry is written whole or not at all (rename), modes are set before content is
visible, and --diff shows what changes. Entries: {path, content, mode} | {path, link} | {path, folder: true, mode} |
{path, absent: true}; owner and group are names or ids, root when left out.
"""

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: arena_files
short_description: write many files, folders and links at once
options:
  files: {type: list, elements: dict, required: true}
  reload_units: {type: bool, default: false, description: tell systemd when something changed}
"""


def numeric(entry):
    def number(value, find):
        return int(value) if str(value).isdigit() else find(value)

    return (
        number(entry.get("owner") or 0, lambda name: pwd.getpwnam(name).pw_uid),
        number(entry.get("group") or 0, lambda name: grp.getgrnam(name).gr_gid),
    )


def look(path):
    """What is at path: (kind, content or target, mode, (uid, gid))."""
    try:
        about = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ("absent", None, None, None)
    mode, owner = stat.S_IMODE(about.st_mode), (about.st_uid, about.st_gid)
    if stat.S_ISLNK(about.st_mode):
        return ("link", os.readlink(path), None, None)
    if stat.S_ISDIR(about.st_mode):
        return ("folder", None, mode, owner)
    with open(path, "rb") as data:
        return ("file", data.read(), mode, owner)


def wanted(entry):
    if entry.get("absent"):
        return ("absent", None, None, None)
    if "link" in entry:
        return ("link", entry["link"], None, None)
    if entry.get("folder"):
        return ("folder", None, int(str(entry.get("mode", "0755")), 8), numeric(entry))
    return ("file", entry["content"].encode(), int(str(entry.get("mode", "0644")), 8), numeric(entry))


def make(path, old, new):
    kind, content, mode, owner = new
    if old[0] not in ("absent", kind):
        (os.rmdir if old[0] == "folder" else os.unlink)(path)
    if kind == "absent":
        return
    os.makedirs(path if kind == "folder" else os.path.dirname(path), mode=0o755, exist_ok=True)
    if kind == "folder":
        os.chown(path, *owner)
        os.chmod(path, mode)
        return
    fresh = path + ".arena-install"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    if kind == "link":
        os.symlink(content, fresh)
    else:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            os.fchown(out.fileno(), *owner)
            os.fchmod(out.fileno(), mode)
            out.flush()
            os.fsync(out.fileno())
    os.replace(fresh, path)


def shown(state):
    return (
        (state[1] or b"").decode("utf-8", "replace")
        if state[0] == "file"
        else "{0} {1}\n".format(state[0], state[1] or "")
    )


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True},
            "reload_units": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    changed, diffs = [], []
    for entry in module.params["files"]:
        path = entry["path"]
        try:
            old, new = look(path), wanted(entry)
            if old == new:
                continue
            changed.append(path)
            if not entry.get("secret"):
                diffs.append({"before_header": path, "after_header": path, "before": shown(old), "after": shown(new)})
            if not module.check_mode:
                make(path, old, new)
        except (OSError, KeyError) as error:
            module.fail_json(msg="{0}: {1}".format(path, error), paths=changed)
    if changed and module.params["reload_units"] and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"])
    module.exit_json(changed=bool(changed), paths=changed, diff=diffs)


if __name__ == "__main__":
    main()
