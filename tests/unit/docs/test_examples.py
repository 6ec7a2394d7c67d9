"""Examples that people copy: what they name exists, and the benchmark takes the flags of its old form."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from arena_install.artifacts import load_lock

EXAMPLE = Path(__file__).resolve().parents[3] / "docs/examples/cnn-benchmark"


@pytest.fixture(scope="module")
def flags() -> argparse.ArgumentParser:
    spec = importlib.util.spec_from_file_location("tf_cnn_benchmarks", EXAMPLE / "tf_cnn_benchmarks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser: argparse.ArgumentParser = module.parser()
    return parser


def test_the_job_is_one_that_the_operator_and_the_lock_know(flags: argparse.ArgumentParser) -> None:
    job: dict[str, Any] = yaml.safe_load((EXAMPLE / "tfjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert {kind: row["replicas"] for kind, row in job["spec"]["tfReplicaSpecs"].items()} == {"PS": 1, "Worker": 1}
    for row in job["spec"]["tfReplicaSpecs"].values():
        (container,) = row["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow"
        assert load_lock().find(container["image"]).name == container["image"]
        assert container["command"][:2] == ["python3", "tf_cnn_benchmarks.py"]
        assert flags.parse_args(container["command"][2:]).model == "resnet50"


def test_the_old_flags_are_taken_and_others_refused(
    flags: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Kubeflow's example of 2018 had them."""
    old = "--batch_size=32 --model=resnet50 --variable_update=parameter_server --flush_stdout=true --num_gpus=1"
    old += " --local_parameter_device=cpu --device=cpu --data_format=NHWC"
    assert flags.parse_args(old.split()).batch_size == 32
    for other in ("--variable_update=horovod", "--data_format=NCHW", "--model=vgg16", "--xla=true"):
        with pytest.raises(SystemExit):
            flags.parse_args([other])
    assert "invalid choice" in capsys.readouterr().err


def test_what_the_page_names_is_there() -> None:
    page = (EXAMPLE / "README.md").read_text()
    assert "arena-install.local/verify-tensorflow:2.21.0" in page and "--from-file=tf_cnn_benchmarks.py" in page
    job = (EXAMPLE / "tfjob.yaml").read_text()
    assert "name: tf-cnn-benchmarks" in job and "create configmap tf-cnn-benchmarks " in page
