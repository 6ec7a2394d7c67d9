"""Suite cluster, the part that hosts know: certificates, etcd, and whether each node gets every image."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from arena_install.probe.upkeep import CERTIFICATE_DAYS
from arena_install.verify import pods
from arena_install.verify.checks.cluster_network import HOST, PODS
from arena_install.verify.checks.host import REACHED, finding, told
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check

_FULL = 0.8  # of etcd's quota; at 1.0 it takes no more writes
_FSYNC_MS = 1100  # etcd's advice is 10 ms at the 99th percentile; at its election timeout, 1 s, it loses leaders
_SAMPLES = 1000  # writes below which a percentile says nothing


@check(
    "cluster.certificates",
    "Certificates last",
    proves=f"every certificate of the control plane, the kubelets and the registry has {CERTIFICATE_DAYS} days left",
    severity="critical",
    needs=(REACHED,),
    timeout=30,
)
def certificates(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    now = time.time()
    days = {
        name: {path: round((end - now) / 86400) for path, end in host.certificates.items()}
        for name, host in hosts.items()
    }
    ctx.save("days-left.json", days)
    unread = [
        finding(
            name,
            "No certificate could be read",
            "openssl named none",
            "at least the kubelet's",
            "apt-get install openssl",
        )
        for name, host in hosts.items()
        if host.kubernetes and not host.certificates
    ]
    left = [(number, f"{path} on {name}") for name, found in days.items() for path, number in found.items()]
    first = min(left, default=(0, "none"))
    expected = f"more than {CERTIFICATE_DAYS} days for each"
    return told(
        ctx,
        ("certificate-expires",),
        expected,
        f"{len(left)} certificates; the first to go is {first[1]}, in {first[0]} days",
        unread,
    )


@check(
    "cluster.etcd",
    "etcd is healthy and has room",
    proves="every member answers and follows a leader, the data stays clear of the quota, and its disk is fast enough",
    severity="critical",
    required=False,  # only where etcd runs as the control plane's own pods can it be asked
    needs=("cluster.api",),
    timeout=120,
    writes=True,
)
def etcd(ctx: Context) -> Outcome:
    found = ctx.kube.items(namespaced("pods", "kube-system"), labelSelector="component=etcd")
    names = [node["metadata"]["name"] for node in ctx.session.nodes()]
    members = sorted(str(pod["spec"]["nodeName"]) for pod in found if pod["spec"].get("nodeName") in names)
    if not members:
        return skipped("etcd does not run as pods of the control plane: ask whoever runs it")
    said = ctx.session.agents.ask_all(ctx, "host", lambda _: ["sh", HOST, "etcd"], nodes=members)
    ctx.save("etcd.txt", "".join(f"# {node}\n{text}" for node, text in said.items()))
    states = {node: etcd_state(text) for node, text in said.items()}
    problems = [f"{node}: {problem}" for node, state in states.items() for problem in state.problems()]
    if len(members) % 2 == 0:
        problems.append(f"{len(members)} members: an even number survives no more failures than one less")
    expected = f"{len(members)} members healthy with a leader, data below {_FULL:.0%} of the quota"
    if problems:
        fix = f"on host {problems[0].partition(':')[0]}: crictl ps -a --name etcd, or /var/log/pods/kube-system_etcd-*"
        return failed(expected, f"{len(problems)} problems", cause="\n".join(problems), fix=fix)
    worst = max(states.values(), key=lambda state: state.size)
    size = f"{worst.size / 2**20:.0f} MiB of {worst.quota / 2**30:.0f} GiB"
    quick = f", writes on disk within {worst.fsync_ms:g} ms (99%)" if worst.fsync_ms else ""
    return passed(
        expected,
        f"{len(members)} of {len(members)} healthy, {size}{quick}",
        data={node: vars(state) for node, state in states.items()},
    )


@dataclass(frozen=True)
class EtcdState:
    """What one member says. size, quota: bytes. fsync_ms: 99th percentile of its log's writes, 0 where not known."""

    healthy: bool
    leader: bool
    size: int
    quota: int
    fsync_ms: float
    said: str

    def problems(self) -> list[str]:
        if not self.healthy:
            return [f"its health check does not say true: {self.said or 'no answer'}"]
        found = [] if self.leader else ["it follows no leader: quorum is lost"]
        if self.quota and self.size > _FULL * self.quota:
            found.append(f"{self.size / 2**20:.0f} MiB of data, the quota is {self.quota / 2**20:.0f} MiB")
        if self.fsync_ms > _FSYNC_MS:
            found.append(f"1% of its writes take more than {self.fsync_ms:g} ms to reach the disk")
        return found


def etcd_state(text: str) -> EtcdState:
    """From agent_host.sh's lines: "health JSON", then lines of Prometheus's format."""
    health = next((line.removeprefix("health ") for line in text.splitlines() if line.startswith("health ")), "")
    figures = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("etcd_"):
            figures[name] = float(value)
    return EtcdState(
        healthy=bool(re.search(r'"health":\s*"true"', health)),
        leader=figures.get("etcd_server_has_leader") == 1,
        size=int(figures.get("etcd_mvcc_db_total_size_in_bytes", 0)),
        quota=int(figures.get("etcd_server_quota_backend_bytes", 0)),
        fsync_ms=_percentile99(figures, "etcd_disk_wal_fsync_duration_seconds"),
        said=health[:200],
    )


def _percentile99(figures: Mapping[str, float], name: str) -> float:
    """Upper bound in ms by a Prometheus histogram's buckets."""
    count = figures.get(f"{name}_count", 0)
    if count < _SAMPLES:
        return 0.0
    bounds = sorted(
        (float(match[1]), value)
        for key, value in figures.items()
        if (match := re.match(rf'{name}_bucket{{le="([\d.e+-]+)"}}', key))
    )
    return next((bound * 1000 for bound, value in bounds if value >= 0.99 * count), 0.0)


@check(
    "cluster.pull",
    "Every node gets every image",
    proves="to each node the registry gives every locked image by digest, trusted and whole; containerd pulls one",
    needs=(PODS, "fact:lock"),
    timeout=180,
    writes=True,
)
def pull(ctx: Context) -> Outcome:
    images: dict[str, Any] = dict(ctx.session.resolved.images) if ctx.session.resolved else {}
    nodes = list(ctx.session.agents.start(ctx, "host"))
    mirrors = ctx.session.agents.ask_all(ctx, "host", lambda _: ["sh", HOST, "mirrors"])
    problems: list[str] = []
    asked = 0
    for node in nodes:
        for (address, ca), wanted in sorted(requests(images, mirrors[node], problems, node).items()):
            lines = "".join(f"HEAD {path}\n" for path, _ in wanted) + "end\n"
            said = ctx.session.agents.ask(ctx, "host", node, ["sh", HOST, "https", address, ca], stdin=lines)
            problems += [f"{node}: {problem}" for problem in answer_problems(wanted, said, address)]
            asked += len(wanted)
    expected = f"{len(images)} images of the lock by digest from each of {len(nodes)} nodes; one pulled by containerd"
    if problems:
        ctx.save("problems.txt", "\n".join(problems) + "\n")
        fix = "arena-install up puts the images there again; on the registry's host: systemctl status docker-registry"
        return failed(expected, f"{len(problems)} things are missing", cause="\n".join(problems[:20]), fix=fix)
    seconds = _pull_one(ctx, images, nodes)
    return passed(
        expected, f"{asked} manifests and layers found from {len(nodes)} nodes, busybox pulled in {seconds:.1f} s"
    )


Wanted = list[tuple[str, int]]  # (path, bytes or 0 where not known)


def requests(images: Mapping[str, Any], mirrors: str, problems: list[str], node: str) -> dict[tuple[str, str], Wanted]:
    """What a node has to ask of which registry: (address, CA) -> paths with their sizes, for all images.

    mirrors: what agent_host.sh prints of the node's containerd. Adds to problems what it has no mirror for."""
    known = {row[1]: row for line in mirrors.splitlines() if len(row := line.split("|")) == 4}
    found: dict[tuple[str, str], Wanted] = {}
    for reference, image in sorted(images.items()):
        upstream, _, rest = reference.rpartition(":")[0].partition("/")
        if upstream not in known:
            problems.append(f"{node}: containerd has no mirror for {upstream}, which {reference} comes from")
            continue
        _, _, url, ca = known[upstream]
        parts = urlsplit(url)
        base = f"{parts.path}/{rest}"
        paths = found.setdefault((f"{parts.hostname}:{parts.port or 443}", ca), [])
        paths.append((f"{base}/manifests/{image.manifest}", 0))
        paths += [(f"{base}/blobs/{blob['digest']}", int(blob["size"])) for blob in image.blobs]
    return found


def answer_problems(wanted: Wanted, said: str, address: str) -> list[str]:
    """What the registry's answers lack. said: lines of agent_host.sh's `https`."""
    if errors := [line.removeprefix("error ") for line in said.splitlines() if line.startswith("error ")]:
        return [f"{address}: {errors[0]}"]
    answers = [line.split() for line in said.splitlines() if line.startswith("answer ")]
    problems = []
    for (path, size), answer in zip(wanted, answers, strict=False):
        if answer[1] != "200":
            problems.append(f"{address}{path} is answered with {answer[1]}")
        elif size and answer[2:] and answer[2] != str(size):
            problems.append(f"{address}{path} has {answer[2]} bytes, the lock says {size}")
    if len(answers) < len(wanted):
        problems.append(f"{address} answered {len(answers)} of {len(wanted)} requests")
    return problems


def _pull_one(ctx: Context, images: Mapping[str, Any], nodes: list[str]) -> float:
    """Have every node's containerd pull the smallest image by its digest, whatever it has; gives the longest time (s).

    Raises CheckFailed or TimedOutError with the kubelet's words."""
    namespace = ctx.session.workspaces.get("restricted")
    reference = f"{pods.BUSYBOX.rpartition(':')[0]}@{images[pods.BUSYBOX].manifest}"
    made = [pods.manifest(ctx, f"pull-{i}", reference, ["true"], node=node) for i, node in enumerate(nodes)]
    for pod in made:
        pod["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    pods.run_all(ctx, namespace, made)
    events = ctx.kube.items(namespaced("events", namespace), fieldSelector="reason=Pulled")
    took = [
        float(match[1]) * {"ms": 0.001, "s": 1.0}[match[2]]
        for event in events
        if str(event["involvedObject"].get("name", "")).startswith("pull-")
        and (match := re.search(r"Successfully pulled image .* in ([\d.]+)(ms|s)\b", str(event.get("message"))))
    ]
    if len(took) < len(made):
        raise CheckFailed(
            f"{len(made) - len(took)} of {len(made)} nodes did not say that they pulled {reference}",
            cause="the kubelet reports every pull as an event; none came",
            fix=f"kubectl get events -n {namespace}; journalctl -u kubelet on the hosts",
        )
    return max(took)
