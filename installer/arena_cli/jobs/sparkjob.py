"""A SparkApplication. The stack has no Spark operator: where the cluster lacks it too, submitting is refused."""

from __future__ import annotations

from collections.abc import Sequence

from arena_cli import fields
from arena_cli.fields import Object
from arena_cli.flags import Flag, Given, only
from arena_cli.jobs.rows import COMMON, OWN

FLAGS = (
    *only(COMMON, "name", "annotation", "label"),
    Flag("image", "text", "The container image.", "spark:3.5.0"),
    Flag("replicas", "number", "How many executors.", 1),
    Flag("main-class", "text", "The class that is run.", "org.apache.spark.examples.SparkPi"),
    Flag("jar", "text", "The program.", "local:///opt/spark/examples/jars/spark-examples_2.12-3.5.0.jar"),
    Flag("spark-version", "text", "Version of Spark in the image.", "3.5.0"),
    Flag("driver-cpu-request", "number", "CPUs of the driver.", 1),
    Flag(
        "driver-memory-request", "text", "Memory of the driver.", "500m", better="as a quantity too; m is Spark's MiB"
    ),
    Flag("driver-service-account", "text", "Service account of the driver.", "spark"),
    Flag("executor-cpu-request", "number", "CPUs of an executor.", 1),
    Flag(
        "executor-memory-request",
        "text",
        "Memory of an executor.",
        "500m",
        better="as a quantity too; m is Spark's MiB",
    ),
    *OWN,
)


def values(given: Given, pull_secrets: Sequence[str] = ()) -> Object:
    fields.job_name(given.text("name"))
    job: Object = {
        "labels": fields.own_labels(given.many("label")),
        "annotations": fields.notes("--annotation", given.many("annotation")),
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "job": {key: value for key, value in job.items() if value},
        "image": fields.image("--image", given.text("image")),
        "mainClass": given.text("main-class"),
        "jar": given.text("jar"),
        "sparkVersion": given.text("spark-version"),
        "driver": {
            "cores": fields.at_least("--driver-cpu-request", given.number("driver-cpu-request"), 1),
            "memory": _memory(given, "driver-memory-request"),
            "serviceAccount": fields.object_name("--driver-service-account", given.text("driver-service-account")),
        },
        "executor": {
            "cores": fields.at_least("--executor-cpu-request", given.number("executor-cpu-request"), 1),
            "memory": _memory(given, "executor-memory-request"),
            "instances": fields.at_least("--replicas", given.number("replicas"), 1),
        },
    }


def _memory(given: Given, flag: str) -> str:
    """Spark's own units (m, g), or Kubernetes' binary ones, which are the same."""
    text = given.text(flag)
    fields.amount(f"--{flag}", text if text[-1:].isdigit() else text[:-1] if text[-1:] in "kmgt" else text)
    return text.removesuffix("i").lower() if text.endswith("i") else text
