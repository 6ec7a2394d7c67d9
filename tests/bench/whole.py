"""A whole lab of profile `full`: `up` again against the first `up`, and the stack against the same charts one by one.

The other way has the same namespaces, CRDs, charts and values, and no tool but kubectl and helm: each chart is
installed by `helm install --wait` when the one before is there, in an order in which each finds what it needs. Images
are on the nodes before either begins, and everything is taken out between two measurements.
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import BIN, Row

from arena_install import lab, stack
from arena_install.artifacts import Resolved
from arena_install.events import ignore
from arena_install.pipeline import components
from arena_install.pipeline.reach import reachable
from arena_install.pipeline.setting import Setting, Wishes, prepare
from arena_install.stack.values import Inputs, inputs_of

NAME = "benchup"
PROFILE = "full"


def rows(rounds: int) -> list[Row]:
    try:
        first = _seconds(_up)
        again = statistics.median(_seconds(_up) for _ in range(rounds))
        ours, theirs = _stack(rounds)
    finally:
        lab.down(NAME, ignore)
    return [
        Row(f"up again, profile {PROFILE}, quick checks, against the first", again, first, "s", 0.05),
        Row("the stack, against kubectl and helm install --wait one by one", ours, theirs, "s", 0.7),
    ]


def _up() -> None:
    run([str(BIN / "arena-install"), "up", "--name", NAME, "--profile", PROFILE])


def _stack(rounds: int) -> tuple[float, float]:
    """Median seconds of ours and of the other way, in turns."""
    setting = prepare(Wishes(profile=PROFILE, lab=NAME))
    resolved = Resolved.load(setting.resolved_file)
    ours: list[float] = []
    theirs: list[float] = []
    with reachable(setting, must=True) as kubeconfig, tempfile.TemporaryDirectory() as folder:
        wanted = components.wanted(setting)
        there, away = scripts(setting, resolved, [inputs_of(wish, resolved) for wish in wanted.values()], Path(folder))
        env = {"KUBECONFIG": str(kubeconfig), "HOME": folder, "PATH": "/usr/bin:/bin"}

        def in_and_out() -> None:
            ours.append(_seconds(lambda: stack.install(setting.cluster, kubeconfig, resolved, wanted, ignore)))
            stack.uninstall(kubeconfig, resolved, tuple(wanted), ignore)

        def by_script() -> None:
            theirs.append(_seconds(lambda: run(["sh", "-eu", str(there)], env)))
            run(["sh", "-eu", str(away)], env)

        stack.uninstall(kubeconfig, resolved, tuple(wanted), ignore)
        for turn in range(rounds):
            for work in (in_and_out, by_script) if turn % 2 == 0 else (by_script, in_and_out):
                work()
    return statistics.median(ours), statistics.median(theirs)


def scripts(
    setting: Setting, resolved: Resolved, inputs: Sequence[Inputs], folder: Path
) -> tuple[Path, Path]:
    """Shell scripts that put the components in, and take them out: what a page of kubectl and helm would say."""
    kubectl, helm = (shlex.quote(str(resolved.program(name))) for name in ("kubectl", "helm"))
    there: list[str] = []
    away: list[str] = []
    for each in inputs:
        component = each.wish.component
        home, name = component.namespace.name, component.name
        values = _file(folder / f"{name}.values.json", each.wish.values)
        before = _file(folder / f"{name}.before.json", {"apiVersion": "v1", "kind": "List", "items": _before(each)})
        there.append(f"{kubectl} apply --server-side --force-conflicts -f {before} >/dev/null")
        if each.crds:
            names = " ".join(f"crd/{row['metadata']['name']}" for row in each.crds)
            there.append(f"{kubectl} wait --for condition=Established --timeout 60s {names} >/dev/null")
        for host, labels in each.wish.node_labels.items():
            pairs = " ".join(f"{key}={value}" for key, value in labels.items())
            there.append(f"{kubectl} label --overwrite node {host} {pairs} >/dev/null")
        there.append(
            f"{helm} install {component.release} {each.chart} --namespace {home} --values {values} --skip-crds"
            " --wait --timeout 5m >/dev/null"
        )
        away[:0] = [
            f"{helm} uninstall {component.release} --namespace {home} --wait --timeout 5m >/dev/null",
            f"{kubectl} delete --ignore-not-found --wait -f {before} >/dev/null 2>&1",
        ]
    return _script(folder / "there.sh", there), _script(folder / "away.sh", away)


def _before(each: Inputs) -> list[Any]:
    """What must be there before the chart: its namespace, its CRDs, its objects. System namespaces are there."""
    component = each.wish.component
    level = component.namespace.pod_security
    namespace: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": component.namespace.name, "labels": {"pod-security.kubernetes.io/enforce": level}},
    }
    made = [] if component.namespace.name.startswith("kube-") else [namespace]
    return [*made, *({k: v for k, v in row.items() if k != "status"} for row in each.crds), *each.wish.objects]


def _file(path: Path, content: object) -> str:
    path.write_text(json.dumps(content, default=str))
    return shlex.quote(str(path))


def _script(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Raises CalledProcessError, after the last words of what failed are on the screen."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env=env)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:])
        done.check_returncode()
