"""Suite cluster (and most of quick): the API, nodes, network, names, storage, and what runs being what was locked."""

from __future__ import annotations

import re
from typing import Any

from arena_install.errors import TimedOutError
from arena_install.verify.checks import platform
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@check(
    "cluster.api",
    "The API is ready",
    proves="every part of the API server, etcd among them, reports itself ready",
    also=("quick",),
    severity="critical",
    timeout=30,
)
def api(ctx: Context) -> Outcome:
    text = ctx.kube.text("/readyz", despite=(500,), verbose="true")  # 500: it is not ready, and says why
    ctx.save("readyz.txt", text)
    lines = [line for line in text.splitlines() if line.startswith("[")]
    broken = [line for line in lines if not line.startswith("[+]")]
    version = ctx.kube.get("/version").get("gitVersion", "")
    expected = "every line of /readyz?verbose is ok"
    if broken:
        return failed(
            expected,
            f"{len(broken)} of {len(lines)} parts are not ready",
            cause="; ".join(broken),
            fix="on the control plane: journalctl -u kubelet -n 50; tail /var/log/pods/kube-system_*/*/*.log",
        )
    return passed(expected, f"{len(lines)} parts ready, Kubernetes {version}")


@check(
    "cluster.nodes-ready",
    "Every host is a Ready node",
    proves="the hosts of the inventory have joined, their kubelets work and none is short of memory, disk or processes",
    also=("quick",),
    severity="critical",
    needs=("cluster.api",),
    timeout=60,
)
def nodes_ready(ctx: Context) -> Outcome:
    nodes = ctx.session.nodes()
    ctx.save("nodes.yaml", nodes)
    problems: list[str] = []
    for node in nodes:
        conditions = {c["type"]: c for c in node["status"].get("conditions") or []}
        name = node["metadata"]["name"]
        ready = conditions.get("Ready") or {}
        if ready.get("status") != "True":
            problems.append(f"{name} is not Ready: {ready.get('message') or 'its kubelet has reported nothing'}")
        problems += [
            f"{name} has {kind}: {conditions[kind].get('message')}"
            for kind in _PRESSURES
            if conditions.get(kind, {}).get("status") == "True"
        ]
    problems += [f"{name} has not joined" for name in _absent(ctx, nodes)]
    expected = "all hosts of groups control_plane and worker are nodes, Ready and without pressure"
    if problems:
        first = problems[0].split()[0]
        return failed(
            expected,
            f"{len(problems)} problems on {len(nodes)} nodes",
            cause="\n".join(problems),
            fix=f"kubectl describe node {first}; on the host: journalctl -u kubelet -n 50; then arena-install up",
        )
    return passed(expected, f"{len(nodes)} nodes Ready: {', '.join(node['metadata']['name'] for node in nodes)}")


def _absent(ctx: Context, nodes: list[Object]) -> list[str]:
    """Hosts of the inventory that should be nodes and are not, by name or by address."""
    known: set[str] = set()
    for node in nodes:
        known |= {node["metadata"]["name"], *(a["address"] for a in node["status"].get("addresses") or [])}
    hosts = [h for h in ctx.cluster.hosts if h.groups & {"control_plane", "worker"}]
    if ctx.session.only is not None:
        hosts = [host for host in hosts if host.name in ctx.session.only]
    return [host.name for host in hosts if not known & {host.name, host.address, host.node_ip or host.name}]


@check(
    "cluster.versions",
    "Versions belong together",
    proves="API server and kubelets have the version of the lock, and all nodes the same container runtime",
    needs=("cluster.nodes-ready",),
    timeout=30,
)
def versions(ctx: Context) -> Outcome:
    server = str(ctx.kube.get("/version").get("gitVersion", ""))
    info = {node["metadata"]["name"]: node["status"]["nodeInfo"] for node in ctx.session.nodes()}
    locked = _locked_version(ctx.session.resolved)
    problems = []
    for name, node in info.items():
        kubelet = node["kubeletVersion"]
        if locked and kubelet.lstrip("v") != locked.lstrip("v"):
            problems.append(f"{name}: kubelet {kubelet}, the lock says {locked}")
        elif not locked and not 0 <= _minor(server) - _minor(kubelet) <= 3:
            problems.append(
                f"{name}: kubelet {kubelet} does not go with API server {server} (at most 3 minor versions older)"
            )
    runtimes = sorted({node["containerRuntimeVersion"] for node in info.values()})
    if len(runtimes) > 1:
        problems.append(f"container runtimes differ: {', '.join(runtimes)}")
    expected = f"kubelets {locked}" if locked else f"kubelets at most 3 minor versions older than {server}"
    expected += ", one container runtime"
    if problems:
        return failed(
            expected,
            f"{len(problems)} differences",
            cause="\n".join(problems),
            fix="arena-install plan shows it; arena-install up mends it",
        )
    kubelets = ", ".join(sorted({node["kubeletVersion"] for node in info.values()}))
    return passed(expected, f"API server {server}, kubelets {kubelets}, {', '.join(runtimes)}")


def _locked_version(resolved: Any | None) -> str:
    """The kubelet's version in the resolved lock, "" if it doesn't say."""
    files = getattr(resolved, "files", None) or {}
    entry = files.get("kubelet")
    return str(_field(entry, "version") or "")


def _minor(version: str) -> int:
    found = re.match(r"v?\d+\.(\d+)", version)
    return int(found.group(1)) if found else 0


@check(
    "cluster.system-pods",
    "The platform's own pods are ready",
    proves="everything that was installed runs, and none of it keeps dying",
    also=("quick",),
    needs=("cluster.api",),
    timeout=60,
)
def system_pods(ctx: Context) -> Outcome:
    expected = "every container of every platform pod is ready (those for GPUs: see gpu.device-plugin)"

    def mine() -> list[Object]:
        return [pod for pod in platform.pods(ctx) if not platform.fails_with_gpus(pod)]

    def look() -> list[Object] | None:
        found = mine()
        return None if any(platform.unready(pod) for pod in found) else found

    try:
        good = ctx.wait(look, "the platform's pods to be ready", seconds=30, every=2)
    except TimedOutError:
        bad = [pod for pod in mine() if platform.unready(pod)]
        if not bad:
            raise
        platform.save(ctx, bad)
        meta = bad[0]["metadata"]
        return failed(
            expected,
            f"{len(bad)} pods are not ready",
            cause="\n".join(
                f"{p['metadata']['namespace']}/{p['metadata']['name']}: {platform.unready(p)}" for p in bad
            ),
            fix=f"kubectl -n {meta['namespace']} describe pod {meta['name']}",
        )
    spaces = sorted({pod["metadata"]["namespace"] for pod in good})
    restarts = sum(s.get("restartCount", 0) for pod in good for s in pod["status"].get("containerStatuses") or [])
    return passed(
        expected,
        f"{len(good)} pods ready in {', '.join(spaces)}; {restarts} restarts so far",
        data={"restarts": restarts},
    )


@check(
    "cluster.images",
    "What runs is what was locked",
    proves="every image of the platform's pods is in the resolved lock, with that digest",
    needs=("cluster.api", "fact:lock"),
    timeout=30,
)
def images(ctx: Context) -> Outcome:
    locked: dict[str, Any] = dict(getattr(ctx.session.resolved, "images", None) or {})
    seen: dict[str, set[str]] = {}
    for pod in platform.pods(ctx):
        status = pod["status"]
        for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            seen.setdefault(_spec_image(pod, entry["name"]), set()).add(str(entry.get("imageID", "")))
    ctx.save("images.json", {image: sorted(ids) for image, ids in sorted(seen.items())})
    problems = []
    for image, ids in sorted(seen.items()):
        if image not in locked:
            problems.append(f"{image} runs and is not in the lock")
            continue
        digests = _digests(locked[image])
        for id in filter(None, ids):
            if id.split("@")[-1] not in digests:
                problems.append(f"{image} runs as {id.split('@')[-1][:19]}, the lock has {sorted(digests)[0][:19]}")
    expected = "every image reference and digest is in the resolved lock"
    if problems:
        return failed(
            expected,
            f"{len(problems)} of {len(seen)} images are not as locked",
            cause="\n".join(problems),
            fix="arena-install up installs what is locked; kubectl get pods -A -o wide shows who runs what",
        )
    return passed(expected, f"{len(seen)} images, all in the lock with their digests")


def _spec_image(pod: Object, container: str) -> str:
    spec = pod["spec"]
    return next(
        str(c["image"]) for c in [*(spec.get("initContainers") or []), *spec["containers"]] if c["name"] == container
    )


def _digests(entry: Any) -> set[str]:
    """The digests by which a runtime may know a locked image: its manifest's and its config's."""
    found = {str(_field(entry, "manifest"))}
    for blob in _field(entry, "blobs") or ():
        media = str(_field(blob, "media_type"))
        if "config" in media or "container.image" in media:
            found.add(str(_field(blob, "digest")))
    return found


def _field(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else getattr(entry, name, None)
