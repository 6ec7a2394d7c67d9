#!/usr/bin/python
"""kubeadm that may be called again at any time.

What we did to a host is noted beside the ledger (cluster.json): "begun" before kubeadm runs, "done" after. So three
cases are told apart that look alike on disk: a member of our cluster, one that was cut off half-way (init is run again
over what is there, which keeps certificates and data; a join is reset first), and a host that somebody else made part
of a cluster, which is never touched.
"""

import base64
import hashlib
import json
import os
import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kubeadm
short_description: kubeadm init, join and reset, safe to repeat
options:
  action: {type: str, required: true, choices: [look, init, join, reset]}
  cluster: {type: str, description: name of the cluster}
  config: {type: str, description: kubeadm's configuration, YAML}
  fixed: {type: dict, description: "what a running cluster can't change: its name as users know it -> value"}
  kubelet: {type: str, description: settings of the cluster's kubelets; others than noted make this host's file anew}
  ignore: {type: list, elements: str, description: preflight errors to pass over}
"""

RETURN = """
member: {type: bool, description: whether this host is part of our cluster now}
"""

NOTE = "/var/lib/arena-install/cluster.json"
KUBERNETES = "/etc/kubernetes"
MANIFESTS = [
    KUBERNETES + "/manifests/" + name + ".yaml"
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
]
CONFIG = "/run/arena-install-kubeadm.yaml"
KUBELET = "/var/lib/kubelet/config.yaml"
AUTHORITY = KUBERNETES + "/pki/ca.crt"
KUBECONFIG = KUBERNETES + "/kubelet.conf"
CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
PATCHES = "/etc/arena-install/kubeadm-patches"
# What a half-done init leaves behind, and its own ports: no reason to refuse to go on.
HALF_DONE = [
    "DirAvailable--var-lib-etcd",
    *("FileAvailable-" + path.replace("/", "-") for path in MANIFESTS),
    *("Port-{0}".format(port) for port in (2379, 2380, 6443, 10250, 10257, 10259)),
]


class Kubeadm:
    def __init__(self, module):
        self.module, self.given = module, module.params

    def note(self):
        try:
            with open(NOTE) as text:
                return json.load(text)
        except (FileNotFoundError, ValueError):
            return {}

    def write_note(self, **note):
        os.makedirs(os.path.dirname(NOTE), mode=0o700, exist_ok=True)
        with open(NOTE + ".new", "w") as out:
            json.dump(dict(note, name=self.given["cluster"]), out)
        os.replace(NOTE + ".new", NOTE)

    def run(self, *arguments, config=True):
        """Output of kubeadm; its configuration may hold a token, so it goes by a private file that is removed."""
        command = ["/usr/local/bin/kubeadm", *arguments]
        if config:
            descriptor = os.open(CONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(self.given["config"])
            command += ["--config", CONFIG]
        environment = dict(os.environ, PATH="/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        try:
            return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        finally:
            if config:
                os.unlink(CONFIG)

    def must(self, *arguments, config=True):
        done = self.run(*arguments, config=config)
        if done.returncode != 0:
            self.fail(done)
        return done

    def fail(self, done):
        # Its list of the kernel's options says nothing; why it gave up stands on stderr.
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and "\x1b[" not in line]
        self.module.fail_json(
            msg="kubeadm {0} failed:\n{1}".format(self.given["action"], "\n".join(said[-25:])), rc=done.returncode
        )

    def look(self):
        """Whether this host is a member of our cluster; fails when it is one of somebody else's."""
        note = self.note()
        member = os.path.exists(KUBECONFIG) or os.path.exists(MANIFESTS[1])
        member = member or (note.get("state") == "done" and os.path.exists(CLIENT))
        if member and not note:
            self.module.fail_json(
                msg="{0} already belongs to a Kubernetes cluster that arena-install did not make "
                "({1} holds its files). Take the host out of the inventory, or free it with `kubeadm reset` if that "
                "cluster is of no use.".format(os.uname().nodename, KUBERNETES)
            )
        if note.get("name", self.given["cluster"]) != self.given["cluster"]:
            self.module.fail_json(
                msg="{0} is part of the cluster {1}, not {2}. `arena-install down` of that cluster frees it.".format(
                    os.uname().nodename, note["name"], self.given["cluster"]
                )
            )
        return member and note.get("state") == "done"

    def init(self):
        member, note = self.look(), self.note()
        if member:
            return self.mend(note)
        if self.module.check_mode:
            return True
        again = note.get("state") == "begun"
        self.write_note(state="begun")
        ignore = self.given["ignore"] + (HALF_DONE if again else [])
        flags = ["--skip-token-print", "--skip-certificate-key-print", "--ignore-preflight-errors=" + ",".join(ignore)]
        done = self.run("init", *flags)
        if done.returncode != 0 and again and not os.path.exists("/var/lib/etcd/member"):
            # Nothing was ever stored: what is left of the first try is worth nothing, and may be why this one failed.
            self.run("reset", "--force", config=False)
            done = self.run("init", *flags)
        if done.returncode != 0:
            self.fail(done)
        self.write_done()
        return True

    def mend(self, note):
        """Static pods, kubeconfigs and the stored configuration as wanted, on a control plane that runs."""
        differ = {
            key: value for key, value in self.given["fixed"].items() if note.get("fixed", {}).get(key, value) != value
        }
        for key, value in differ.items():
            self.module.fail_json(
                msg="{0} is {1} and can't become {2} while the cluster lives. Set it back, or make the cluster anew: "
                "`arena-install down`, then `up`.".format(key, note["fixed"][key], value)
            )
        phases = []
        if note.get("config") != sha256(self.given["config"]):
            phases += [("control-plane", "all"), ("etcd", "local"), ("upload-config", "all")]
        elif note.get("manifests") != manifests():
            phases += [("control-plane", "all"), ("etcd", "local")]
        if not all(
            os.path.exists(KUBERNETES + "/" + name)
            for name in ("admin.conf", "controller-manager.conf", "kubelet.conf", "scheduler.conf")
        ):
            phases.append(("kubeconfig", "all"))
        if self.kubelet_differs(note):
            phases.append(("kubelet-start",))
        if not phases or self.module.check_mode:
            return bool(phases)
        for phase in phases:
            self.must("init", "phase", *phase)
        self.write_done()
        return True

    def write_done(self):
        self.write_note(
            state="done",
            fixed=self.given["fixed"],
            config=sha256(self.given["config"]),
            manifests=manifests(),
            kubelet=digest(KUBELET),
            kubelet_settings=self.kubelet_settings(),
        )

    def kubelet_settings(self):
        patches = sorted(os.listdir(PATCHES)) if os.path.isdir(PATCHES) else []
        return sha256(self.given["kubelet"] + "".join(digest(os.path.join(PATCHES, name)) for name in patches))

    def kubelet_differs(self, note):
        """Whether the kubelet's configuration is not what kubeadm left, or not what is wanted now."""
        return note.get("kubelet") != digest(KUBELET) or note.get("kubelet_settings") != self.kubelet_settings()

    def join(self):
        if self.look():
            return self.mend_member()
        if self.module.check_mode:
            return True
        if self.note():  # cut off half-way, or no member any more
            self.run("reset", "--force", config=False)
        self.write_note(state="begun")
        self.must("join", "--ignore-preflight-errors=" + ",".join(self.given["ignore"]))
        self.write_done()
        return True

    def mend_member(self):
        """What a kubelet needs at its next start. Whether something was amiss."""
        lost = [path for path in (AUTHORITY, KUBECONFIG) if not os.path.exists(path)]
        differs = self.kubelet_differs(self.note())
        if self.module.check_mode:
            return bool(lost) or differs
        try:
            for path in lost:
                write(path, self.authority() if path == AUTHORITY else self.kubeconfig())
        except (OSError, AttributeError):  # no file, or nothing in it that matches
            self.module.fail_json(
                msg="{0} and {1} are both gone or broken, and each was to be made from the other. Copy {0} from another "
                "node.".format(AUTHORITY, KUBECONFIG)
            )
        if differs:
            if not os.path.exists(KUBELET):
                write(KUBELET, b"")  # kubeadm refuses to go on where it finds none to keep a copy of
            # Out of the cluster's own copy, with this host's patches over it.
            self.must("upgrade", "node", "phase", "kubelet-config", "--patches", PATCHES, config=False)
            self.write_done()
        return bool(lost) or differs

    def authority(self):
        """The cluster's certificate, which the kubelet's own kubeconfig carries too."""
        with open(KUBECONFIG) as text:
            return base64.b64decode(re.search(r'certificate-authority-data"?: *"?([^"\s]+)', text.read()).group(1))

    def kubeconfig(self):
        """The kubelet's, with the certificate that it renews by itself."""
        with open(AUTHORITY, "rb") as data:
            authority = base64.b64encode(data.read()).decode()
        server = "https://" + re.search(r"apiServerEndpoint: *(\S+)", self.given["config"]).group(1)
        user = {"client-certificate": CLIENT, "client-key": CLIENT}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {"certificate-authority-data": authority, "server": server}}],
            "users": [{"name": "kubelet", "user": user}],
            "contexts": [{"name": "kubelet", "context": {"cluster": "cluster", "user": "kubelet"}}],
            "current-context": "kubelet",
        }
        return json.dumps(config, indent=2).encode()

    def reset(self):
        if not self.note():
            return False
        if not self.module.check_mode:
            if os.path.exists("/usr/local/bin/kubeadm"):
                self.run("reset", "--force", config=False)
            os.unlink(NOTE)
        return True


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as out:
        out.write(data)
    os.chmod(path + ".new", 0o600 if path == KUBECONFIG else 0o644)
    os.replace(path + ".new", path)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def digest(path):
    """sha256 of a file, "" where there is none."""
    try:
        with open(path, "rb") as data:
            return hashlib.sha256(data.read()).hexdigest()
    except FileNotFoundError:
        return ""


def manifests():
    """Digest of the static pods as kubeadm left them."""
    return sha256("".join(map(digest, MANIFESTS)))


def main():
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["look", "init", "join", "reset"]},
            "cluster": {"type": "str", "default": ""},
            "config": {"type": "str", "default": "", "no_log": True},
            "fixed": {"type": "dict", "default": {}},
            "kubelet": {"type": "str", "default": ""},
            "ignore": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    kubeadm = Kubeadm(module)
    action = module.params["action"]
    if action == "look":
        module.exit_json(changed=False, member=kubeadm.look())
    changed = getattr(kubeadm, action)()
    module.exit_json(changed=changed, member=action != "reset")


if __name__ == "__main__":
    main()
