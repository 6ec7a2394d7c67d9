"""Suite host, the part about what we installed: containerd and its configuration, programs, room on the disks."""

from __future__ import annotations

from typing import Any

from arena_install.probe.facts import Finding, HostFacts
from arena_install.verify.checks.host import REACHED, finding, nodes, told
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, skipped
from arena_install.verify.registry import check

_CONFIG = "/etc/containerd/config.toml"
_PROGRAMS = {name: f"/usr/local/bin/{name}" for name in ("kubelet", "kubeadm", "kubectl")}
_MARGIN = 3  # percent of an image disk that should be free before the kubelet begins to remove images


@check(
    "host.containerd",
    "containerd runs as it was set up",
    proves="it is active, its configuration is the recorded one and in effect, and GPU hosts have the runtime nvidia",
    severity="critical",
    needs=(REACHED,),
    timeout=30,
)
def containerd(ctx: Context) -> Outcome:
    hosts = nodes(ctx)
    gpu = {host.name for host in ctx.session.hosts.cluster.group("gpu")}
    wrong = [problem for name, host in hosts.items() for problem in containerd_problems(name, host, name in gpu)]
    versions = sorted({host.versions.get("containerd", "") for host in hosts.values()})
    good = f"containerd {', '.join(versions)} on {len(hosts)} nodes, runtime nvidia on {len(gpu & hosts.keys())}"
    return told(ctx, ("containerd-stale",), "active, as recorded, started after its last change", good, wrong)


def containerd_problems(name: str, host: HostFacts, gpu: bool) -> list[Finding]:
    """What is wrong with one host's containerd, beyond what the probe's findings say."""
    problems = []
    unit = host.units.get("containerd.service")
    if unit is None or unit.active != "active":
        state = unit.active if unit else "not installed"
        problems.append(finding(name, "containerd does not run", state, "active", "systemctl restart containerd"))
    role = host.ledger.get("container_runtime")
    for item in role.drift if role else ():
        if item.kind == "file" and item.name.startswith("/etc/containerd/"):
            problems.append(
                finding(name, "containerd's configuration was changed", item.name, "as recorded", "arena-install up")
            )
    if gpu and "nvidia" not in host.runtimes:
        problems.append(
            finding(
                name,
                "containerd has no runtime nvidia",
                f"{_CONFIG} names {', '.join(host.runtimes) or 'none'}",
                "nvidia among them",
                "arena-install up (role container_runtime writes it)",
            )
        )
    return problems


@check(
    "host.programs",
    "Programs are the locked ones",
    proves="kubelet, and kubeadm and kubectl where they are, have the sha256 of the resolved lock on every node",
    needs=(REACHED,),
    timeout=30,
)
def programs(ctx: Context) -> Outcome:
    if ctx.session.resolved is None:
        return skipped(
            "the resolved lock of this cluster is not on this machine",
            fix="run verify where `arena-install up` was run",
        )
    files: dict[str, Any] = dict(ctx.session.resolved.files)
    locked = {path: files[name].sha256 for name, path in _PROGRAMS.items() if name in files}
    hosts = nodes(ctx)
    wrong = [problem for name, host in hosts.items() for problem in program_problems(name, host, locked)]
    versions = ", ".join(f"{name} {files[name].version}" for name in _PROGRAMS if name in files)
    return told(ctx, (), "the same sha256 as in the resolved lock", f"{versions} on {len(hosts)} nodes", wrong)


def program_problems(name: str, host: HostFacts, locked: dict[str, str]) -> list[Finding]:
    """locked: path -> sha256. What the probe read again from the role's record is compared; a worker has no kubectl."""
    record = host.ledger.get("kubernetes_node")
    found = {item.name: item.found for item in record.items if item.kind == "file"} if record else {}
    problems = []
    for path, digest in locked.items():
        if path not in found and path != _PROGRAMS["kubelet"]:
            continue
        state = found.get(path, "not in the role's record")
        if state.split(" ")[0] != digest:
            seen = f"{path} is {state[:12] if len(state) > 64 else state}"
            problems.append(finding(name, "A program is not the locked one", seen, digest[:12], "arena-install up"))
    return problems


@check(
    "host.disk",
    "There is room on the disks",
    proves="images, volumes and etcd have space, and the kubelet is not about to remove images or evict pods",
    needs=(REACHED, "cluster.nodes-ready"),
    timeout=60,
)
def disk(ctx: Context) -> Outcome:
    wrong, rows = [], []
    for node in ctx.session.nodes():
        name = node["metadata"]["name"]
        settings = ctx.kube.get(f"/api/v1/nodes/{name}/proxy/configz")["kubeletconfig"]
        summary = ctx.kube.get(f"/api/v1/nodes/{name}/proxy/stats/summary")["node"]
        row, problem = headroom(name, settings, summary)
        rows.append(row)
        wrong += [problem] if problem else []
    ctx.save("image-disks.json", rows)
    least = min((row["free_gib"] for row in rows), default=0)
    most = max((row["used_percent"] for row in rows), default=0)
    good = f"at least {least:.0f} GiB free for images, disks at most {most:.0f}% full"
    # Little space that still does is what `doctor` and `plan` warn of.
    low = [f for f in ctx.session.hosts.facts(ctx).findings if f.id == "disk-low" and f.severity == "error"]
    expected = f"room for images, etcd and volumes, {_MARGIN}% of the disk before images are removed"
    return told(ctx, (), expected, good, [*low, *wrong])


def headroom(name: str, settings: Object, summary: Object) -> tuple[dict[str, Any], Finding | None]:
    """(figures, what is wrong) of a node's image disk, by its kubelet's settings and statistics."""
    stats = (summary.get("runtime") or {}).get("imageFs") or summary["fs"]
    used = 100.0 * (1 - stats["availableBytes"] / stats["capacityBytes"])
    high = int(settings.get("imageGCHighThresholdPercent", 85))
    row = {
        "node": name,
        "used_percent": round(used, 1),
        "images_removed_at_percent": high,
        "free_gib": round(stats["availableBytes"] / 2**30, 1),
        "eviction": settings.get("evictionHard", {}),
    }
    if used < high - _MARGIN:
        return row, None
    return row, finding(
        name,
        "The kubelet is about to remove images",
        f"the disk of images is {used:.0f}% full",
        f"less than {high - _MARGIN}%: images are removed at {high}%",
        "free some: du -xhd1 /var/lib; kubectl get pods -A -o wide shows who runs there",
    )
