"""The page of `status --html`: for people without Grafana. One file, no script, nothing loaded from anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arena_install.pipeline.status import Status
    from arena_install.pipeline.watched import Curve, Watched

_WIDTH, _HEIGHT = 300, 64


def page(status: Status, watched: Watched, *, simulated: bool) -> str:
    """simulated: whether all GPUs of the cluster are, by its inventory."""
    from markupsafe import Markup

    from arena_install.templates import environment

    made = environment("arena_install", "cli")
    made.filters["age"] = lambda since: age(watched.at - since)
    firing = [alert for alert in watched.alerts if alert.state == "firing"]
    down = [node for node in status.nodes if not node["ready"]]
    ill = [gpu for gpu in watched.gpus if gpu.trouble]
    grave = [alert for alert in firing if alert.severity == "critical"]
    return made.get_template("status.html.j2").render(
        status=status,
        watched=watched,
        simulated=simulated,
        when=datetime.fromtimestamp(watched.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        verdict="bad" if down or ill or grave else "warn" if firing or not status.plan.empty else "good",
        words=words(len(down), len(ill), len(firing), status),
        firing=firing,
        pending=len(watched.alerts) - len(firing),
        offered=sum(int(node["gpus"]) for node in status.nodes),
        held=sum(bool(gpu.holders) for gpu in watched.gpus),
        by_node=_by_node(status, watched),
        curves=[
            (curve.title, f"{curve.points[-1][1]:.0%}", Markup(svg(curve))) for curve in watched.curves if curve.points
        ],
    )


def words(down: int, ill: int, firing: int, status: Status) -> str:
    """The verdict in a line."""
    found = [
        f"{count} {what}{'' if count == 1 else 's'} {verb}"
        for count, what, verb in ((down, "node", "not ready"), (ill, "GPU", "in trouble"), (firing, "alert", "firing"))
        if count
    ]
    if not status.plan.empty:
        found.append("not as recorded: arena-install plan")
    return ", ".join(found) or "all nodes ready, all GPUs well, no alert"


def _by_node(status: Status, watched: Watched) -> list[dict[str, Any]]:
    return [
        {
            "node": node,
            "figures": watched.nodes.get(str(node["name"]), {}),
            "gpus": [gpu for gpu in watched.gpus if gpu.node == node["name"]],
        }
        for node in status.nodes
    ]


def svg(curve: Curve) -> str:
    """A filled line over time, drawn in the page's own colours."""
    spots = [(_WIDTH * at, 2 + (_HEIGHT - 4) * (1 - min(1.0, max(0.0, value)))) for at, value in curve.points]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-hidden="true" class="curve">'
        f'<polygon class="area" points="{spots[0][0]:.1f},{_HEIGHT} {points} {spots[-1][0]:.1f},{_HEIGHT}"/>'
        f'<polyline class="line" points="{points}"/></svg>'
    )


def age(seconds: float) -> str:
    """3 min, 2 h, 5 d"""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
