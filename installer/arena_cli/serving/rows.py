"""The flags of `arena serve`. Names and defaults are upstream's (arena v0.15)."""

from __future__ import annotations

from arena_cli.flags import Flag
from arena_cli.jobs.rows import OWN

_SHARE = "GPUs are shared so by Alibaba's scheduler alone; --gpus gives whole ones, and MIG devices go by --device"
_ISTIO = "it needs Istio, which is not part of the stack; the Service is there for an Ingress of your own"
_COMMAND = "A command for the shell, in place of the image's own."

COMMON = (
    Flag(
        "name",
        "text",
        "The name of what is served.",
        required=True,
        old=("servingName",),
        better="a dot in it is refused; upstream could not delete such a job",
    ),
    Flag("version", "text", "Its version (default: the time, as 202611221000).", old=("servingVersion",)),
    Flag("image", "text", "The container image."),
    Flag(
        "image-pull-policy",
        "text",
        "When it is pulled.",
        "IfNotPresent",
        choices=("Always", "IfNotPresent", "Never"),
        old=("imagePullPolicy",),
    ),
    Flag("gpus", "number", "GPUs of each replica."),
    Flag("device", "list", "Other devices of each replica, RESOURCE=COUNT."),
    Flag("gpumemory", "number", "", refused=_SHARE),
    Flag("gpucore", "number", "", refused=_SHARE),
    Flag("cpu", "text", "CPUs of each replica."),
    Flag("memory", "text", "Memory of each replica."),
    Flag("replicas", "number", "How many replicas.", 1),
    Flag("share-memory", "text", "Size of /dev/shm."),
    Flag("image-pull-secret", "list", "A Secret with the registry's login."),
    Flag("env", "list", "An environment variable, KEY=VALUE.", short="e"),
    Flag("env-from-secret", "list", "A variable out of a Secret, NAME=SECRET[:KEY] (KEY default: NAME)."),
    Flag("enable-istio", "switch", "", refused=_ISTIO, old=("enableIstio",)),
    Flag("expose-service", "switch", "", refused=_ISTIO, old=("exposeService",)),
    Flag("data", "list", "A volume claim and where it is mounted, PVC:/PATH[:ro].", short="d"),
    Flag("data-subpath-expr", "list", "A part of such a volume, PVC:EXPRESSION."),
    Flag("data-dir", "list", "A folder of the nodes, HOST[:CONTAINER]."),
    Flag("temp-dir", "list", "An empty folder, NAME:/PATH."),
    Flag("temp-dir-subpath-expr", "list", "A part of such a folder, NAME:EXPRESSION."),
    Flag("annotation", "list", "An annotation, KEY=VALUE.", short="a"),
    Flag("label", "list", "A label, KEY=VALUE.", short="l"),
    Flag("toleration", "list", "A taint that is tolerated: KEY=VALUE:EFFECT, KEY:EFFECT, KEY or all."),
    Flag("selector", "list", "A label that the nodes must have, KEY=VALUE."),
    Flag("config-file", "list", "A file from here that the pods see, FILE[:CONTAINERPATH]."),
    Flag("shell", "text", "The shell that runs the command.", "sh", choices=("sh", "bash")),
    Flag("command", "text", _COMMAND),
    Flag("model-name", "text", "The model's name."),
    Flag("model-version", "text", "The model's version."),
)


def serving(*more: Flag) -> tuple[Flag, ...]:
    """Common flags and a kind's own; own ones stand in for common ones of the same name."""
    names = {flag.name for flag in more}
    return (*(flag for flag in COMMON if flag.name not in names), *more, *OWN)


_NO_POLICY = "upstream ignores it; a file of --model-config-file has the policy"
TENSORFLOW = serving(
    Flag("image", "text", "The container image.", "tensorflow/serving:latest"),
    Flag("port", "number", "Port for gRPC.", 8500),
    Flag("restful-port", "number", "Port for HTTP.", 8501, old=("restfulPort",)),
    Flag("model-name", "text", "The model's name.", old=("modelName",)),
    Flag("model-path", "text", "The model's folder.", old=("modelPath",)),
    Flag("model-config-file", "text", "A file that lists models, in the container.", old=("modelConfigFile",)),
    Flag("monitoring-config-file", "text", "A file for Prometheus, in the container."),
    Flag("version-policy", "text", "", old=("versionPolicy",), refused=_NO_POLICY),
)
TRITON = serving(
    Flag("backend", "text", "", refused="it chooses images of Alibaba's registry; name one by --image"),
    Flag("model-repository", "text", "The folder of models."),
    Flag("http-port", "number", "Port for HTTP.", 8000),
    Flag("grpc-port", "number", "Port for gRPC.", 8001),
    Flag("metrics-port", "number", "Port of the metrics.", 8002),
    Flag("allow-metrics", "switch", "Offer metrics."),
    Flag("extend-command", "text", "More for tritonserver's command line."),
    Flag("load-model", "list", "Load only this model at the start."),
)


def _probe(name: str) -> tuple[Flag, ...]:
    return (
        Flag(
            f"{name}-probe-action",
            "text",
            f"How the {name} probe asks.",
            choices=("httpGet", "exec", "grpc", "tcpSocket"),
        ),
        Flag(f"{name}-probe-action-option", "list", 'What it needs, as "path: /health" or "port: 8000".'),
        Flag(f"{name}-probe-option", "list", 'Its times, as "periodSeconds: 5".'),
    )


CUSTOM = serving(
    Flag("port", "number", "Port for gRPC."),
    Flag("restful-port", "number", "Port for HTTP."),
    Flag("metrics-port", "number", "Port of the metrics."),
    Flag("max-surge", "text", "Replicas more than wanted while it is updated, a number or a share."),
    Flag("max-unavailable", "text", "Replicas fewer than wanted meanwhile."),
    *_probe("liveness"),
    *_probe("readiness"),
    *_probe("startup"),
)
