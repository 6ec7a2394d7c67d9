#!/usr/bin/python
"""Objects that Kubernetes makes itself, seen to on a control plane: nodes, their taint, its own namespaces' labels.

A node that `arena-install down` began to take out and did not (installer/arena_install/stack/nodes.py leaves an
annotation) stays: what was cordoned for it is put back.
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kube_node
short_description: wait for nodes, taint or untaint them, keep those that were leaving, label namespaces
options:
  names: {type: list, elements: str, required: true}
  taint: {type: bool, description: whether only control plane pods may run there; left alone when not given}
  pod_security: {type: dict, description: "namespace -> level of Pod Security to enforce there"}
  timeout: {type: int, default: 120, description: seconds}
"""

LEVEL = "pod-security.kubernetes.io/enforce"
TAINT = "node-role.kubernetes.io/control-plane"
LEAVING = "arena-install.local/leaving"


def kubectl(module, *arguments):
    """Without a cache in root's home: nobody would remove it."""
    command = ["/usr/local/bin/kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=10s"]
    return module.run_command([*command, "--cache-dir=" + module.tmpdir, *arguments])


def main():
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "taint": {"type": "bool"},
            "pod_security": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    given, done = module.params, []
    names = [name.lower() for name in given["names"]]
    deadline = time.monotonic() + given["timeout"]
    while True:
        rc, out, err = kubectl(module, "get", "--raw", "/api/v1/nodes")
        nodes = {node["metadata"]["name"]: node for node in json.loads(out)["items"]} if rc == 0 else {}
        waiting = sorted(set(names) - set(nodes))
        if not waiting or module.check_mode:
            break
        if time.monotonic() > deadline:
            why = err.strip() or "kubelet there did not register: journalctl -u kubelet"
            module.fail_json(msg="no node {0} after {1} s; {2}".format(", ".join(waiting), given["timeout"], why))
        time.sleep(0.5)
    for name in names:
        how = nodes.get(name, {}).get("metadata", {}).get("annotations", {}).get(LEAVING)
        if how:
            done.append("keep " + name)
            steps = [["annotate", "node", name, LEAVING + "-"]] + ([["uncordon", name]] if how == "cordoned" else [])
            for step in reversed(steps) if not module.check_mode else []:
                rc, _, err = kubectl(module, *step)
                if rc != 0:
                    module.fail_json(msg="kubectl {0}: {1}".format(" ".join(step), err.strip()))
    for name in names if given["taint"] is not None else []:
        taints = nodes.get(name, {}).get("spec", {}).get("taints", [])
        has = any(taint["key"] == TAINT and taint["effect"] == "NoSchedule" for taint in taints)
        if has != given["taint"]:
            done.append("{0} {1}".format("taint" if given["taint"] else "untaint", name))
            if not module.check_mode:
                rc, _, err = kubectl(
                    module, "taint", "node", name, TAINT + ":NoSchedule" + ("" if given["taint"] else "-")
                )
                if rc != 0:
                    module.fail_json(msg="kubectl taint node {0}: {1}".format(name, err.strip()))
    for name, level in sorted(given["pod_security"].items()):
        rc, out, err = kubectl(module, "get", "--raw", "/api/v1/namespaces/" + name)
        labels = json.loads(out)["metadata"].get("labels", {}) if rc == 0 else {}
        if labels.get(LEVEL) != level:
            done.append("label {0} {1}".format(name, level))
            if not module.check_mode:
                rc, _, err = kubectl(module, "label", "namespace", name, "--overwrite", LEVEL + "=" + level)
                if rc != 0:
                    module.fail_json(msg="kubectl label namespace {0}: {1}".format(name, err.strip()))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
