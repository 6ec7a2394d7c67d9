"""Charts and Helm: where they are, and what a chart becomes. Helm is the one program that reads charts as they are
meant. It is run without a shell, without the user's plugins and HELM_* settings, and without a cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_install import fastyaml
from arena_install.errors import ConfigError, StepError
from arena_install.paths import cache_dir, data_dir

_LIBRARY = "arena-common"
_TIMEOUT = 60  # seconds
_ORDER = ("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "PersistentVolumeClaim", "PodGroup")


def folder() -> Path:
    """$ARENA_CHARTS, or a site's own in ~/charts or /charts (those of upstream's arena have no library and are passed
    over), else what ships with us."""
    if named := os.environ.get("ARENA_CHARTS"):
        path = Path(named).expanduser()
        if not (path / _LIBRARY).is_dir():
            raise ConfigError(
                "these are no charts of arena's",
                where=str(path),
                why=f"it holds no folder {_LIBRARY}",
                fix="correct ARENA_CHARTS, or unset it",
            )
        return path
    sites = (Path.home() / "charts", Path("/charts"))
    return next((path for path in sites if (path / _LIBRARY).is_dir()), data_dir() / "charts")


def helm() -> Path:
    """$ARENA_HELM, arena-helm or helm on the PATH, or the one that arena-install made. Raises ConfigError."""
    if named := os.environ.get("ARENA_HELM"):
        path = Path(named).expanduser()
        if not os.access(path, os.X_OK):
            raise ConfigError(
                "this is no program", where=str(path), why="ARENA_HELM names it", fix="correct or unset it"
            )
        return path
    for name in ("arena-helm", "helm"):
        if found := shutil.which(name):
            return Path(found)
    made = sorted((cache_dir() / "named").glob("*/helm"), key=lambda path: path.stat().st_mtime)
    if made:
        return made[-1]
    raise ConfigError(
        "helm is missing",
        why="it makes Kubernetes objects of arena's charts",
        fix="install Helm 3, or name it: export ARENA_HELM=/path/of/helm",
    )


def version(chart: str) -> str:
    found = fastyaml.load((folder() / chart / "Chart.yaml").read_text())
    return str(found["version"])


def template(chart: str, name: str, namespace: str, values: Mapping[str, Any], files: Sequence[str] = ()) -> str:
    """What Helm prints. files: values of the user's, laid over. Raises ConfigError where the chart's schema forbids a
    value, StepError where the chart is broken."""
    source = folder()
    if not (source / chart).is_dir():
        raise StepError(f"there is no chart {chart}", where=str(source), fix="see ARENA_CHARTS")
    for file in files:
        if not Path(file).is_file():
            raise ConfigError("--values: there is no such file", where=file)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
    with tempfile.TemporaryDirectory(prefix="arena-") as home:
        # The library goes into the chart here and now: a chart that is packed already could not be edited on a site.
        mine = Path(home, chart)
        shutil.copytree(source / chart, mine)
        needs = _LIBRARY in (mine / "Chart.yaml").read_text()
        if needs and not list(mine.glob(f"charts/{_LIBRARY}*")):
            shutil.copytree(source / _LIBRARY, mine / "charts" / _LIBRARY)
        environment |= {f"HELM_{kind}_HOME": str(Path(home, kind.lower())) for kind in ("CACHE", "CONFIG", "DATA")}
        command = [str(helm()), "template", name, str(mine), "--namespace", namespace, "--values", "-"]
        for file in files:
            command += ["--values", str(Path(file).absolute())]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(values),
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                timeout=_TIMEOUT,
                cwd=home,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StepError("helm does not run", where=command[0], why=str(error)) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        lines = [line.replace(f"{home}/", "") for line in lines]
        if any("schema" in line for line in lines):
            raise ConfigError(
                f"the chart {chart} does not take these values",
                why="\n".join(lines[-8:]),
                fix="correct the file of --values" if files else "",
            )
        raise StepError(f"the chart {chart} does not render", why="\n".join(lines[-8:]))
    return done.stdout


def render(
    chart: str, name: str, namespace: str, values: Mapping[str, Any], files: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The objects, the job itself first, then what its pods need, then the rest."""
    objects = list(fastyaml.load_all(template(chart, name, namespace, values, files)))
    jobs = [obj for obj in objects if _is_job(obj)]
    others = [obj for obj in objects if obj not in jobs]
    rank = {kind: number for number, kind in enumerate(_ORDER)}
    return [*jobs, *sorted(others, key=lambda obj: rank.get(obj["kind"], len(rank)))]


def _is_job(obj: Mapping[str, Any]) -> bool:
    return "createdBy" in (obj["metadata"].get("labels") or {})
