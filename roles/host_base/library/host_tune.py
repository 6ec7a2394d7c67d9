#!/usr/bin/python
"""Put a host's settings into effect now; the files that keep them over a reboot are written before.

Lines in files that belong to the site (/etc/fstab, /etc/hosts) carry a mark, so that reset finds exactly them.
"""

import os
import re
import socket
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: host_tune
short_description: host name, live sysctls, kernel modules, swap
options:
  state: {type: str, default: present, choices: [present, reset]}
  hostname: {type: str, description: empty leaves the name}
  address: {type: str, description: address that the name stands for}
  sysctls: {type: dict}
  modules: {type: list, elements: str}
  swap_off: {type: bool}
  hostname_from_file: {type: bool, description: "reset: take the name that /etc/hostname says"}
"""

MARK = "# arena-install"
FSTAB_SWAP = re.compile(r"^(?!\s*#)\s*\S+\s+\S+\s+swap\s.*$", re.M)
FSTAB_OURS = re.compile("^" + re.escape(MARK) + r": (.*)$", re.M)


def text_of(path):
    try:
        with open(path) as lines:
            return lines.read()
    except FileNotFoundError:
        return ""


def write(path, text):
    """In place, not by rename: in a container these files are mount points of their own."""
    with open(path, "w") as out:
        out.write(text)


class Tuner:
    def __init__(self, check):
        self.check, self.done = check, []

    def do(self, what, act):
        self.done.append(what)
        if not self.check:
            act()

    def edit(self, path, fresh):
        if fresh != text_of(path):
            self.do("edit " + path, lambda: write(path, fresh))

    def hostname(self, name, address):
        if text_of("/etc/hostname").strip() != name:
            self.do("edit /etc/hostname", lambda: write("/etc/hostname", name + "\n"))
        if socket.gethostname() != name:
            self.do("name the host " + name, lambda: socket.sethostname(name))
        hosts = text_of("/etc/hosts")
        if not re.search(r"^[^#\n]*\s" + re.escape(name) + r"(\s|$)", hosts, re.M):
            line = "{0} {1} {2}\n".format(address or "127.0.1.1", name, MARK)
            self.edit("/etc/hosts", hosts + ("" if hosts.endswith("\n") or not hosts else "\n") + line)

    def modules(self, names):
        for name in names:
            if not os.path.isdir("/sys/module/" + name):
                self.do(
                    "load " + name,
                    lambda name=name: subprocess.run(["modprobe", name], check=True, capture_output=True),
                )

    def sysctls(self, wanted):
        for name, value in wanted.items():
            path = "/proc/sys/" + name.replace(".", "/")
            if os.path.exists(path) and text_of(path).split() != str(value).split():
                self.do(
                    "{0} = {1}".format(name, value), lambda path=path, value=value: write(path, "{0}\n".format(value))
                )

    def swap_off(self):
        self.edit("/etc/fstab", FSTAB_SWAP.sub(lambda line: MARK + ": " + line.group(0), text_of("/etc/fstab")))
        if len(text_of("/proc/swaps").splitlines()) > 1:
            self.do("swap off", lambda: subprocess.run(["swapoff", "-a"], check=True, capture_output=True))

    def reset(self):
        fstab = text_of("/etc/fstab")
        if FSTAB_OURS.search(fstab):
            self.edit("/etc/fstab", FSTAB_OURS.sub(r"\1", fstab))
            self.do("swap on", lambda: subprocess.run(["swapon", "-a"], check=False, capture_output=True))
        kept = [line for line in text_of("/etc/hosts").splitlines(True) if not line.rstrip().endswith(MARK)]
        self.edit("/etc/hosts", "".join(kept))


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "present", "choices": ["present", "reset"]},
            "hostname": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "sysctls": {"type": "dict", "default": {}},
            "modules": {"type": "list", "elements": "str", "default": []},
            "swap_off": {"type": "bool", "default": False},
            "hostname_from_file": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, tuner = module.params, Tuner(module.check_mode)
    try:
        if given["hostname_from_file"]:
            name = text_of("/etc/hostname").strip()
            if name and name != socket.gethostname():
                tuner.do("name the host " + name, lambda: socket.sethostname(name))
        elif given["state"] == "reset":
            tuner.reset()
        else:
            if given["hostname"]:
                tuner.hostname(given["hostname"], given["address"])
            tuner.modules(given["modules"])
            tuner.sysctls(given["sysctls"])
            if given["swap_off"]:
                tuner.swap_off()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None)
        module.fail_json(msg="{0}{1}".format(error, ": " + said.decode() if said else ""), done=tuner.done)
    module.exit_json(changed=bool(tuner.done), done=tuner.done)


if __name__ == "__main__":
    main()
