"""What the charts become, by the real Helm, and what their schemas forbid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from goldens import COMMANDS, FOLDER, printed, values

from arena_cli import charts, yamltext
from arena_install.errors import ConfigError, StepError

CHARTS = sorted(
    path.parent.name
    for path in charts.data_dir().glob("charts/*/Chart.yaml")
    if (path.parent / "values.yaml").read_text().startswith("# What all jobs share")
)


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_become_these_values(name: str, alone: Path) -> None:
    assert f"# {COMMANDS[name]}\n{values(COMMANDS[name])}" == (FOLDER / f"{name}.values.yaml").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_values_become_these_objects(name: str, helm: Path, alone: Path) -> None:
    assert f"# {COMMANDS[name]}\n{printed(COMMANDS[name])}" == (FOLDER / f"{name}.yaml").read_text()


def test_every_chart_has_a_golden_rendering() -> None:
    shown = {
        line.split("/")[0]
        for path in FOLDER.glob("*.yaml")
        for line in path.read_text().splitlines()
        if not line.startswith("#")
    }
    assert shown
    text = "\n".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    assert all(f"chart: {chart}-" in text for chart in CHARTS)


@pytest.mark.parametrize("chart", CHARTS)
def test_helm_lint(chart: str, helm: Path, tmp_path: Path) -> None:
    mine = tmp_path / chart
    shutil.copytree(charts.folder() / chart, mine)
    shutil.copytree(charts.folder() / "arena-common", mine / "charts" / "arena-common")
    name = next(name for name in COMMANDS if f"chart: {chart}-" in (FOLDER / f"{name}.yaml").read_text())
    given = tmp_path / "values.yaml"
    given.write_text(values(COMMANDS[name]))
    done = subprocess.run(
        [str(helm), "lint", "--strict", str(mine), "-f", str(given)],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nprocPerNode": "many"}, "nprocPerNode"),
        ({"unheard": 1}, "unheard"),
        ({"job": {"sharedMemory": 2}}, "sharedMemory"),
        ({"job": {"unheard": 1}}, "unheard"),
        ({"job": {"roles": {"Master": {"replicas": -1, "image": "i"}}}}, "replicas"),
    ],
)
def test_the_schemas_forbid_what_means_nothing(change: dict[str, Any], said: str, helm: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        charts.template("pytorchjob", "x", "default", {"job": {}, **change})
    assert said in str(refused.value)


def test_a_file_of_values_is_laid_over(helm: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(yamltext.dump({"job": {"logVolume": {"size": "50Gi"}, "workingDir": "/elsewhere"}}))
    base = {
        "job": {
            "roles": {"Master": {"replicas": 1, "image": "i", "command": "c"}},
            "tensorboard": {"logdir": "/logs", "writer": "Master", "ownVolume": True},
        }
    }
    objects = charts.render("pytorchjob", "x", "default", base, [str(mine)])
    assert objects[0]["kind"] == "PyTorchJob"
    container = objects[0]["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]
    assert container["workingDir"] == "/elsewhere"
    claim = next(obj for obj in objects if obj["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"


def test_helm_that_is_missing_is_told(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARENA_HELM", raising=False)
    monkeypatch.setenv("PATH", str(alone))
    monkeypatch.setenv("ARENA_INSTALL_CACHE", str(alone / "cache"))
    with pytest.raises(ConfigError, match="helm is missing"):
        charts.helm()


def test_a_chart_of_a_site_goes_first(alone: Path, helm: Path) -> None:
    shipped = charts.folder()
    shutil.copytree(shipped, alone / "charts")
    assert charts.folder() == alone / "charts"
    shutil.rmtree(alone / "charts" / "arena-common")  # upstream's charts have no such library
    assert charts.folder() == shipped


def test_a_broken_chart_is_told(alone: Path, helm: Path) -> None:
    shutil.copytree(charts.folder(), alone / "charts")
    (alone / "charts/pytorchjob/templates/pytorchjob.yaml").write_text("{{ .Values.job.nothing.there }}")
    with pytest.raises(StepError, match="does not render"):
        charts.template("pytorchjob", "x", "default", {"job": {}})
