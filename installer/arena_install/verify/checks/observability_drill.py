"""Suite observability, the drill: a GPU under a pod reports an error, and an alert says so, with the pod's name.

The error is one of a program's own making (an XID that the device plugin and the gpu suite pass over), so that nothing
is lost but the quiet. It can be made where GPUs are simulated alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from arena_install.verify.checks.observability import interval, of, unix
from arena_install.verify.checks.observability_gpu import LOGS, Holding, await_pod, holding
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.model import Outcome, passed, skipped
from arena_install.verify.prometheus import Prometheus
from arena_install.verify.pytorchjob import BUSY_FIX
from arena_install.verify.registry import check

_XID = "DCGM_FI_DEV_XID_ERRORS"
_ALERT = "GpuProgramError"
_HARMLESS = (31, 43, 13)  # a value that was there before would not be news
_SLACK = 3.0  # seconds for the answer's way
#: What a host's agent runs to change a simulated GPU.
_GPUSIM = ["busybox", "nsenter", "-t", "1", "-m", "gpusim", "set"]


@check(
    "observability.gpu-error",
    "A GPU's error reaches an alert, with the pod that it hit",
    proves="within two scrapes an XID is in the metrics, within two more in an alert, with the pod that held the GPU",
    required=False,  # real GPUs can't be made to fail for it
    needs=("observability.gpu-metrics", "observability.alerts"),
    holds=("gpu",),
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def gpu_error(ctx: Context) -> Outcome:
    with victim(ctx, "drill") as it:
        if isinstance(it, Outcome):
            return it
        it.strike(ctx)
        began = time.monotonic()
        metric = _metric(ctx, it.prometheus, it.held, it.xid, began, it.scrapes + _SLACK)
        alert = _alert(ctx, it.prometheus, it.held, began, it.scrapes + it.evaluations + _SLACK)
    return passed(
        f"{_XID} {it.xid} within {it.scrapes:g} s and {_ALERT} within {it.scrapes + it.evaluations:g} s, "
        f"for pod {it.held.pod}",
        f"GPU {it.gpu} of {it.held.node}: metric after {metric:.1f} s, alert after {alert:.1f} s",
        data={"metric_seconds": metric, "alert_seconds": alert},
    )


@dataclass(frozen=True)
class Victim:
    """A simulated GPU that a pod of ours holds and Prometheus knows. gpu: its number on the host. xid: one that is news
    there. scrapes, evaluations: seconds that two of them take."""

    held: Holding
    prometheus: Prometheus
    gpu: str
    xid: int
    scrapes: float
    evaluations: float

    def strike(self, ctx: Context) -> None:
        """The driver reports the error."""
        ctx.session.agents.ask(ctx, "host", self.held.node, [*_GPUSIM, f"gpu={self.gpu}", f"xid={self.xid}"])


@contextlib.contextmanager
def victim(ctx: Context, pod: str) -> Iterator[Victim | Outcome]:
    """Held by a pod of this name until the end; why there is none, where there is none. Raises CheckFailed."""
    with holding(ctx, pod) as held:
        if held is None:
            yield skipped("no GPU is free", fix=BUSY_FIX)
            return
        if not ctx.session.readers.view(ctx, held.node).simulated:
            yield skipped("its GPUs are real: no error is provoked there")
            return
        prometheus = of(ctx)
        await_pod(ctx, prometheus, held)
        every = interval(prometheus.targets(), "gpu-exporter")
        rules = max(float(group["interval"]) for group in prometheus.groups())
        yield Victim(held, prometheus, *choose(prometheus, held), 2 * every, 2 * rules)


def choose(prometheus: Prometheus, held: Holding) -> tuple[str, int]:
    """The GPU's number on its host, and an XID that is news there. Raises CheckFailed where none is published."""
    question = f'{_XID}{{UUID="{held.uuid}"}}'
    before = prometheus.query(question)
    if not before:
        raise CheckFailed(
            f"the XIDs of {held.uuid} are not published",
            cause=f"{question} is not there, though other figures of this GPU are",
            fix=f"kubectl -n gpu-exporter describe configmap gpu-exporter lists the fields; {LOGS}",
        )
    return before[0].labels["gpu"], next(number for number in _HARMLESS if number != int(before[0].value))


def _metric(ctx: Context, prometheus: Prometheus, held: Holding, xid: int, began: float, within: float) -> float:
    question = f'{_XID}{{UUID="{held.uuid}", namespace="{held.namespace}", pod="{held.pod}"}}'
    while True:
        seen = [sample.value for sample in prometheus.query(question)]
        if seen == [float(xid)]:
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise CheckFailed(
                f"XID {xid} of {held.uuid} is not in the metrics after {within:.0f} s",
                cause=f"{question} is {seen or 'not there'}",
                fix=LOGS,
            )
        ctx.session.sleep(0.5, ctx.deadline)


def _alert(ctx: Context, prometheus: Prometheus, held: Holding, began: float, within: float) -> float:
    since = ctx.kube.now() - (time.monotonic() - began) - 1
    while True:
        mine = [
            alert
            for alert in prometheus.alerts()
            if alert["labels"].get("alertname") == _ALERT
            and (alert["labels"].get("UUID"), alert["labels"].get("pod")) == (held.uuid, held.pod)
        ]
        if any(alert["state"] == "firing" and unix(alert["activeAt"]) >= since for alert in mine):
            ctx.save("alert.json", mine)
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise CheckFailed(
                f"no alert {_ALERT} fires for pod {held.pod} after {within:.0f} s",
                cause=f"the XID is in the metrics; of that GPU there is {[a['state'] for a in mine] or 'no alert'}",
                fix="kubectl -n prometheus get configmap prometheus-rules -o yaml; arena-install up mends drift",
            )
        ctx.session.sleep(0.5, ctx.deadline)
