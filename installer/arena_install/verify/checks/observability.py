"""Suite observability, the part that only reads: everything is scraped, and every rule is evaluated."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arena_install import fastyaml, paths
from arena_install.verify.context import Context
from arena_install.verify.kube import Object, when
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.prometheus import Prometheus, seconds
from arena_install.verify.registry import check

_RULES = "charts/prometheus/files/rules"
_PATIENCE = 45.0  # seconds for what has only just started to be scraped, and for rules to be evaluated
_LATE = 4  # intervals without an evaluation, after which a group stands still
_WATCHDOG = "Watchdog"


def of(ctx: Context) -> Prometheus:
    return Prometheus(ctx.kube, ctx.facts.prometheus)


@check(
    "observability.targets",
    "Prometheus reaches all that it watches",
    proves="every exporter, kubelet and API server answers Prometheus, and no node or GPU host is without one",
    needs=("cluster.nodes-ready", "component:prometheus"),
    timeout=120,
)
def targets(ctx: Context) -> Outcome:
    prometheus = of(ctx)
    nodes = ctx.session.nodes()
    wanted = wanted_nodes(prometheus.jobs(), nodes, ctx.session.gpu_names())
    seen: list[Object] = []
    problems: list[str] = []
    until = time.monotonic() + _PATIENCE
    while True:
        seen = prometheus.targets()
        problems = target_problems(seen, wanted)
        if not problems or time.monotonic() > until:
            break
        ctx.progress(problems[0])
        ctx.session.sleep(2, ctx.deadline)
    ctx.save("targets.json", seen)
    expected = "every target is up; node exporters and kubelets on every node, a GPU exporter on every GPU node"
    if problems:
        return failed(
            expected,
            f"{len(problems)} problems",
            cause="\n".join(problems),
            fix="kubectl get pods -A -o wide | grep exporter; a firewall on the host named may drop ports 9100, 10250",
        )
    jobs: dict[str, int] = {}
    for one in seen:
        jobs[one["scrapePool"]] = jobs.get(one["scrapePool"], 0) + 1
    return passed(expected, ", ".join(f"{job} {count}" for job, count in sorted(jobs.items())), data={"targets": jobs})


def wanted_nodes(jobs: Iterable[str], nodes: Sequence[Object], gpu_nodes: Sequence[str]) -> dict[str, set[str]]:
    """Job -> nodes that must have a target of it; of the jobs that Prometheus is configured for."""
    names = {str(node["metadata"]["name"]) for node in nodes}
    every = {"node-exporter": names, "kubelet": names, "gpu-exporter": set(gpu_nodes)}
    return {job: found for job, found in every.items() if job in set(jobs)}


def target_problems(seen: Sequence[Object], wanted: Mapping[str, set[str]]) -> list[str]:
    problems = []
    for one in seen:
        labels = one["labels"]
        where = labels.get("node") or labels.get("instance", "?")
        if one["health"] == "down":
            problems.append(f"{one['scrapePool']} of {where}: {one.get('lastError') or 'down'}")
        elif one["health"] != "up":
            problems.append(f"{one['scrapePool']} of {where} has not been scraped yet")
    for job, nodes in wanted.items():
        there = {one["labels"].get("node") for one in seen if one["scrapePool"] == job}
        problems += [f"{node} has no {job}" for node in sorted(nodes - there)]
    return problems or ([] if seen else ["nothing is scraped"])


@check(
    "observability.alerts",
    "Rules are evaluated, and alerts can fire",
    proves="every rule that we ship is loaded, none fails or stands still, and the alert that always fires does",
    needs=("observability.targets",),
    timeout=120,
)
def alerts(ctx: Context) -> Outcome:
    prometheus, shipped = of(ctx), shipped_rules()
    until = time.monotonic() + _PATIENCE
    while True:
        groups, firing = prometheus.groups(), prometheus.alerts()
        problems = rule_problems(groups, shipped, ctx.kube.now()) + watchdog_problems(firing)
        if not problems or time.monotonic() > until:
            break
        ctx.progress(problems[0])
        ctx.session.sleep(2, ctx.deadline)
    ctx.save("rules.json", groups)
    ctx.save("alerts.json", firing)
    expected = f"{len(shipped)} rules of ours are loaded and evaluated without error, and {_WATCHDOG} fires"
    others = sorted({str(a["labels"]["alertname"]) for a in firing if a["state"] == "firing"} - {_WATCHDOG})
    if problems:
        return failed(
            expected,
            f"{len(problems)} problems",
            cause="\n".join(problems),
            fix="kubectl -n prometheus logs prometheus-0 names the rule; arena-install up puts changed rules back",
            data={"firing": others},
        )
    count = sum(len(group["rules"]) for group in groups)
    told = f"; firing: {', '.join(others)}" if others else "; no other alert fires"
    return passed(expected, f"{count} rules in {len(groups)} groups{told}", data={"firing": others})


def shipped_rules() -> set[str]:
    """The names of all rules and alerts that come with the program."""
    found: set[str] = set()
    for file in sorted((paths.data_dir() / _RULES).glob("*.yaml")):
        for group in fastyaml.load(file.read_text())["groups"]:
            found |= {str(rule.get("alert") or rule["record"]) for rule in group["rules"]}
    return found


def rule_problems(groups: Sequence[Object], shipped: set[str], now: float) -> list[str]:
    """now: Unix seconds."""
    loaded = {str(rule["name"]) for group in groups for rule in group["rules"]}
    problems = [f"{name} is not loaded" for name in sorted(shipped - loaded)]
    for group in groups:
        for rule in group["rules"]:
            if rule["health"] == "err":
                problems.append(f"{rule['name']} ({group['name']}) fails: {rule.get('lastError')}")
            elif rule["health"] != "ok":
                problems.append(f"{rule['name']} ({group['name']}) has not been evaluated yet")
        age = now - unix(group.get("lastEvaluation", ""))
        if age > _LATE * float(group["interval"]) + 2:
            problems.append(
                f"group {group['name']} was evaluated {age:.0f} s ago; it should be every {group['interval']} s"
            )
    return problems


def watchdog_problems(firing: Sequence[Any]) -> list[str]:
    if any(a["labels"].get("alertname") == _WATCHDOG and a["state"] == "firing" for a in firing):
        return []
    return [f"{_WATCHDOG} does not fire, so no other alert could"]


def unix(text: str) -> float:
    """Unix seconds of a time as Prometheus writes it, 0 for never."""
    if not text or text.startswith("0001-"):
        return 0.0
    return when(text)


def interval(seen: Sequence[Object], job: str) -> float:
    """Seconds between two scrapes of a job's targets."""
    return max((seconds(one["scrapeInterval"]) for one in seen if one["scrapePool"] == job), default=15.0)
