"""`arena serve ...`."""

from __future__ import annotations

from functools import partial

from arena_cli.command import Group, Verb
from arena_cli.flags import Flag, Given
from arena_cli.serving import rows
from arena_cli.verbs.absent import Absent
from arena_cli.verbs.logs import LOGS
from arena_cli.verbs.rows import CONTAINER, EVERYWHERE, INSTANCE, OUTPUT

_V = "arena_cli.verbs.serve"
VERSION = Flag("version", "text", "Its version, where there are several.", short="v")
TYPE = Flag("type", "text", "The kind of serving: tensorflow, triton, custom.", short="T")


def _serve(kind: str, given: Given) -> None:
    from arena_cli.serving.manage import submit

    submit(kind, given)


def _list(given: Given) -> None:
    from arena_cli.serving.manage import show_all

    show_all(given)


def _get(given: Given) -> None:
    from arena_cli.serving.manage import show
    from arena_cli.verbs.words import one_word

    show(given, one_word(given, "serve get", "JOB"))


def _logs(given: Given) -> None:
    from arena_cli import logs
    from arena_cli.serving.manage import as_job, find
    from arena_cli.session import Session
    from arena_cli.verbs.words import one_word

    session, name = Session(given), one_word(given, "serve logs", "JOB")
    logs.show_job(session, as_job(find(session, name)))


def _attach(given: Given) -> None:
    from arena_cli.attach import attach
    from arena_cli.serving.manage import as_job, find
    from arena_cli.session import Session
    from arena_cli.verbs.words import some_words

    name, *command = some_words(given, "serve attach", "JOB [-- COMMAND]")
    session = Session(given)
    attach(session, as_job(find(session, name)), command)


def _delete(given: Given) -> None:
    from arena_cli.serving.manage import delete
    from arena_cli.verbs.words import some_words

    delete(given, some_words(given, "serve delete", "JOB..."))


def _update(given: Given) -> None:
    from arena_cli.serving.manage import update

    update(given)


tensorflow = Verb(
    "tensorflow", "Serve TensorFlow's models.", rows.TENSORFLOW, partial(_serve, "tensorflow"), "[COMMAND]..."
)
triton = Verb("triton", "Serve models by NVIDIA's Triton.", rows.TRITON, partial(_serve, "triton"), "[COMMAND]...")
custom = Verb("custom", "Serve by any image.", rows.CUSTOM, partial(_serve, "custom"), "[COMMAND]...")
list_ = Verb("list", "List what is served.", (EVERYWHERE, OUTPUT, TYPE), _list)
get = Verb("get", "Show what is served under a name.", (VERSION, TYPE, OUTPUT), _get, "JOB")
logs = Verb("logs", "Print a server's log.", (VERSION, TYPE, *LOGS), _logs, "JOB")
attach = Verb(
    "attach",
    "Run a shell, or a command, in a server's pod.",
    (VERSION, TYPE, INSTANCE, CONTAINER),
    _attach,
    "JOB [-- COMMAND]...",
)
delete = Verb("delete", "Delete what is served.", (VERSION, TYPE), _delete, "JOB...")

_ANEW = "serve it under another --version: volumes and a model's place are of one version"
UPDATE = (
    Flag("name", "text", "What is served.", required=True),
    Flag("version", "text", "Its version, where there are several."),
    Flag("image", "text", "Another image."),
    Flag("gpus", "number", "Other GPUs of each replica."),
    *(flag for flag in rows.COMMON if flag.name in ("gpumemory", "gpucore")),
    Flag("cpu", "text", "Other CPUs of each replica."),
    Flag("memory", "text", "Other memory of each replica."),
    Flag("replicas", "number", "How many replicas.", better="0 too"),
    Flag("env", "list", "Variables to add or change, KEY=VALUE.", short="e"),
    Flag("annotation", "list", "Annotations to add or change.", short="a"),
    Flag("label", "list", "Labels to add or change.", short="l"),
    Flag("command", "text", "Another command."),
    Flag("selector", "list", "Labels that the nodes must have."),
    Flag("toleration", "list", "Taints that are tolerated."),
    Flag("data", "list", "", short="d", refused=_ANEW),
)


def _updates(type_: str, *refused: str) -> Verb:
    flags = (*UPDATE, *(Flag(name, "text", "", refused=_ANEW) for name in refused))

    def run(given: Given) -> None:
        _update(given.filled((Flag("type", "text", "", type_),)))

    return Verb(type_.partition("-")[0], "Change it.", flags, run)


update_tensorflow = _updates("tf-serving", "model-name", "model-path", "model-config-file", "monitoring-config-file")
update_triton = _updates("triton-serving", "model-repository", "allow-metrics")
update_custom = _updates("custom-serving")

REASONS = {
    "tensorrt": ("NVIDIA has renamed it to Triton", "arena serve triton"),
    "kserve": ("KServe is not part of the stack", "arena serve custom, with the model server's own image"),
    "kfserving": ("KFServing became KServe, which is not part of the stack", "arena serve custom"),
    "seldon": ("Seldon is not part of the stack", "arena serve custom"),
    "distributed": ("LeaderWorkerSet is not part of the stack", "arena serve custom for models that one node holds"),
    "traffic-split": (
        "it needs Istio, which is not part of the stack",
        "serve the new version beside the old, and point the client or an Ingress at it",
    ),
}
tensorrt, kserve, kfserving, seldon, distributed, traffic = (
    Absent(name, REASONS, "serve ")
    for name in ("tensorrt", "kserve", "kfserving", "seldon", "distributed", "traffic-split")
)
update_kserve, update_distributed = (Absent(name, REASONS, "serve update ") for name in ("kserve", "distributed"))
update = Group(
    "update",
    "Change what is served.",
    {
        "tensorflow": (f"{_V}:update_tensorflow", "Change a TensorFlow server."),
        "triton": (f"{_V}:update_triton", "Change a Triton server."),
        "custom": (f"{_V}:update_custom", "Change a server of any image."),
        "kserve": (f"{_V}:update_kserve", "(not here)"),
        "distributed": (f"{_V}:update_distributed", "(not here)"),
    },
    {"tf": "tensorflow"},
    path="serve update",
)
group = Group(
    "serve",
    "Serve models.",
    {
        "tensorflow": (f"{_V}:tensorflow", tensorflow.help),
        "triton": (f"{_V}:triton", triton.help),
        "custom": (f"{_V}:custom", custom.help),
        "list": (f"{_V}:list_", list_.help),
        "get": (f"{_V}:get", get.help),
        "logs": (f"{_V}:logs", logs.help),
        "attach": (f"{_V}:attach", attach.help),
        "delete": (f"{_V}:delete", delete.help),
        "update": (f"{_V}:update", update.help or ""),
        **{name: (f"{_V}:{name.partition('-')[0]}", "(not here)") for name in REASONS},
    },
    {
        "tf": "tensorflow",
        "ls": "list",
        "log": "logs",
        "del": "delete",
        "trt": "tensorrt",
        "kfs": "kfserving",
        "kf": "kfserving",
        "trs": "traffic-split",
        "traffic-router": "traffic-split",
        "traffic-router-split": "traffic-split",
        "traffic-shift": "traffic-split",
        "traffic-shifting": "traffic-split",
    },
    path="serve",
)
