"""Suite cluster, the part that runs pods: names, packets and bytes get where they should on every node."""

from __future__ import annotations

import re

from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.needs import CONTROL_PLANE
from arena_install.verify.registry import check

_PORT = 8080


@check(
    "cluster.dns",
    "Names resolve on every node",
    proves="a pod on any node finds services by name, through the cluster's DNS",
    needs=("cluster.nodes-ready",),
    timeout=180,
    writes=True,
)
def dns(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    nodes = [node["metadata"]["name"] for node in ctx.session.nodes()]
    domain = ctx.cluster.config.kubernetes.cluster_domain
    address = ctx.kube.get(namespaced("services", "default", "kubernetes"))["spec"]["clusterIP"]
    # the full name three times, since one lookup may be answered by the one DNS pod that works; then by the search path
    full = f"nslookup kubernetes.default.svc.{domain}."
    asked = [full, full, full, "getent hosts kubernetes.default.svc || nslookup kubernetes.default.svc"]
    script = (
        f'ask() {{ out=$(sh -c "$1" 2>&1); echo "$out" | grep -qwF {address} && echo right || echo "$1: $out"; }}\n'
    )
    script += "".join(f'ask "{question}"\n' for question in asked) + "exit 0"
    made = [
        pods.manifest(ctx, f"dns-{i}", pods.BUSYBOX, ["sh", "-c", script], node=node) for i, node in enumerate(nodes)
    ]
    logs = pods.run_all(ctx, namespace, made)
    right = {node: logs[f"dns-{i}"].splitlines().count("right") for i, node in enumerate(nodes)}
    bad = {node: count for node, count in right.items() if count < len(asked)}
    expected = f"kubernetes.default.svc.{domain} is {address}: {len(asked)} lookups from each of {len(nodes)} nodes"
    if bad:
        cause, fix = _dns_cause(ctx, list(bad))
        return failed(expected, ", ".join(f"{n}: {c} of {len(asked)}" for n, c in bad.items()), cause=cause, fix=fix)
    return passed(expected, f"{sum(right.values())} of {len(asked) * len(nodes)} lookups right")


def _dns_cause(ctx: Context, nodes: list[str]) -> tuple[str, str]:
    """(cause, fix): the DNS pods themselves, or the way to them."""
    servers = ctx.kube.items(namespaced("pods", "kube-system"), labelSelector="k8s-app=kube-dns")
    ready = [pod for pod in servers if pods.running(pod)]
    if not ready:
        what = f"none of {len(servers)} CoreDNS pods is ready" if servers else "no CoreDNS pod exists"
        return what, "kubectl -n kube-system get deployment,pods -l k8s-app=kube-dns; kubectl -n kube-system scale " + (
            "deployment coredns --replicas=2"
        )
    where = ", ".join(sorted({str(pod["spec"].get("nodeName")) for pod in ready}))
    return (
        f"{len(ready)} CoreDNS pods are ready (on {where}), but lookups from {', '.join(nodes)} went unanswered",
        "kubectl -n kube-system logs -l k8s-app=kube-dns; if cluster.network failed too, mend that first",
    )


@check(
    "cluster.network",
    "Pods reach pods and services",
    proves="packets go from every node's pods to every other's, directly and through a service's virtual address",
    needs=("cluster.nodes-ready",),
    timeout=240,
    writes=True,
)
def network(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    nodes = [node["metadata"]["name"] for node in ctx.session.nodes()]
    labels = {"app": "echo"}
    serve = f"echo $NAME > /www/index.html && exec busybox httpd -f -p {_PORT} -h /www"
    folder: tuple[Object, str] = ({"emptyDir": {}}, "/www")
    servers = [
        pods.manifest(
            ctx,
            f"echo-{i}",
            pods.BUSYBOX,
            ["sh", "-c", serve],
            node=node,
            env={"NAME": node},
            labels=labels,
            volumes=[folder],
            port=_PORT,
        )
        for i, node in enumerate(nodes)
    ]
    pods.create(ctx, namespace, servers)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo", "labels": pods.own_labels(ctx)},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": _PORT}]},
    }
    vip = ctx.kube.create(namespaced("services", namespace), service)["spec"]["clusterIP"]
    up = pods.wait_for(ctx, namespace, [s["metadata"]["name"] for s in servers], pods.running, "servers running")
    addresses = [up[f"echo-{i}"]["status"]["podIP"] for i in range(len(nodes))]
    clients = [
        pods.manifest(ctx, f"client-{i}", pods.BUSYBOX, ["sh", "-c", _client(i, nodes, addresses, vip)], node=node)
        for i, node in enumerate(nodes)
    ]
    pods.create(ctx, namespace, clients)
    names = [client["metadata"]["name"] for client in clients]
    pods.wait_for(ctx, namespace, names, pods.done, "clients done")
    lines = [line.split() for name in names for line in ctx.kube.logs(namespace, name).splitlines()]
    pods.capture(ctx, namespace)
    pods.remove(ctx, namespace, [*servers, *clients], wait=False)
    tried = [line for line in lines if line and line[0] == "try"]
    lost = [
        f"{line[1]} -> {line[2]}: answered by {line[4]}" if line[4:] else f"{line[1]} -> {line[2]}: no answer"
        for line in tried
        if not _right(line)
    ]
    pairs = sum(1 for line in tried if line[2] != "service")
    expected = f"requests between {len(nodes)} nodes are answered by the pod asked for, those to the service by any"
    if not tried or lost:
        return failed(
            expected,
            f"{len(lost)} of {len(tried)} requests failed",
            cause="\n".join(lost[:20]) or "the clients reported nothing",
            fix="kubectl -n kube-flannel get pods -o wide; check that the nodes reach each other on UDP 8472 (vxlan)",
        )
    return passed(
        expected,
        f"{pairs} requests to pods and {len(tried) - pairs} to the service answered",
        data={"requests": len(tried)},
    )


def _client(index: int, nodes: list[str], addresses: list[str], vip: str) -> str:
    """A script that prints "try FROM TO WANTED GOT"; every pair up to 12 nodes, then the next six in a ring."""
    count = len(nodes)
    others = range(count) if count <= 12 else [(index + step) % count for step in range(7)]
    lines = ['ask() { got=$(busybox wget -q -T 5 -O - "http://$3" 2>/dev/null); echo "try $1 $2 $4 $got"; }']
    lines += [f"ask {nodes[index]} {nodes[i]} {addresses[i]}:{_PORT} {nodes[i]}" for i in others]
    lines += [f"ask {nodes[index]} service {vip}:80 any"] * 3 + ["exit 0"]  # by address: names are cluster.dns's affair
    return "\n".join(lines)


def _right(line: list[str]) -> bool:
    """Whether a line "try FROM TO WANTED GOT" reports the right answer."""
    return len(line) == 5 and (line[3] == "any" or line[3] == line[4])


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
