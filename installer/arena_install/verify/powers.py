"""What a pod can do beyond the others: the words in which components and roles declare it, and what pods really have.

The words: hostNetwork, hostPID, hostIPC, privileged, "hostPath PATH", "hostPort N", "capability NAME" (but those that
Pod Security's level baseline lets every pod have). In a declaration, `*` stands for anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from arena_install.verify.kube import Object

Declared = Mapping[str, Sequence[str]]  # workload -> words

#: https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
_BASELINE = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"),
    *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}


def powers(pod: Object) -> set[str]:
    spec = pod["spec"]
    found = {word for word in ("hostNetwork", "hostPID", "hostIPC") if spec.get(word)}
    found |= {f"hostPath {v['hostPath']['path']}" for v in spec.get("volumes") or () if "hostPath" in v}
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        security = container.get("securityContext") or {}
        found |= {"privileged"} if security.get("privileged") else set()
        added = set((security.get("capabilities") or {}).get("add") or ())
        found |= {f"capability {name}" for name in added - _BASELINE}
        if not spec.get("hostNetwork"):
            found |= {f"hostPort {port['hostPort']}" for port in container.get("ports") or () if port.get("hostPort")}
    return found


def workload(pod: Object) -> str:
    """The name of what a pod belongs to: of its DaemonSet or Deployment, of a static pod's file, else its own."""
    meta = pod["metadata"]
    owner = next(iter(meta.get("ownerReferences") or ()), {"kind": "", "name": ""})
    if owner["kind"] == "Node":
        return str(meta["name"]).removesuffix(f"-{owner['name']}")
    if owner["kind"] == "ReplicaSet":
        digest = (meta.get("labels") or {}).get("pod-template-hash", "")
        return str(owner["name"]).removesuffix(f"-{digest}")
    return str(owner["name"] or meta["name"])


def undeclared(pod: Object, declared: Declared) -> set[str]:
    """What a pod has and its workload's declaration does not name."""
    name = workload(pod)
    allowed = [word for pattern, words in declared.items() if fnmatchcase(name, pattern) for word in words]
    return {word for word in powers(pod) if not any(fnmatchcase(word, pattern) for pattern in allowed)}
