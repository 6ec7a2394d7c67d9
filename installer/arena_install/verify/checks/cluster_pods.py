"""Suite cluster, the part about storage: what a pod writes, another one reads."""

from __future__ import annotations

import re

from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.needs import CONTROL_PLANE
from arena_install.verify.registry import check


@check(
    "cluster.storage",
    "The default storage keeps data",
    proves="a claim is bound by the default StorageClass, and what one pod writes the next one on that node reads",
    needs=("cluster.nodes-ready", "component:storage"),
    timeout=240,
    writes=True,
)
def storage(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": pods.own_labels(ctx)},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    ctx.kube.create(namespaced("persistentvolumeclaims", namespace), claim)
    source: Object = {"persistentVolumeClaim": {"claimName": "data"}}
    write = "head -c 4194304 /dev/urandom > /data/random && sync && sha256sum /data/random && df -k /data | tail -n 1"
    workers = [
        n["metadata"]["name"] for n in ctx.session.nodes() if CONTROL_PLANE not in (n["metadata"].get("labels") or {})
    ]
    node = (workers or [ctx.session.nodes()[0]["metadata"]["name"]])[0]
    sums = []
    for name, script in (("writer", write), ("reader", "sha256sum /data/random")):
        pod = pods.manifest(ctx, name, pods.BUSYBOX, ["sh", "-c", script], node=node, volumes=[(source, "/data")])
        log = pods.run_all(ctx, namespace, [pod])[name]
        found = re.search(r"\b[0-9a-f]{64}\b", log)
        if not found:
            raise CheckFailed(
                f"the {name} gave no checksum",
                cause=log.strip() or "its log is empty",
                fix="see the pod's log in the evidence",
            )
        sums.append(found.group(0))
    bound = ctx.kube.get(namespaced("persistentvolumeclaims", namespace, "data"))
    ctx.save("claim.yaml", bound)
    expected = "4 MiB of random data have the same SHA-256 in a second pod"
    if sums[0] != sums[1]:
        return failed(
            expected,
            f"written {sums[0][:12]}, read {sums[1][:12]}",
            cause="the volume lost or changed data",
            fix=f"look at the disk of node {node}",
        )
    used = bound["spec"].get("storageClassName", ctx.facts.default_storage)
    return passed(expected, f"same SHA-256 {sums[0][:12]}…, StorageClass {used}, on node {node}")
