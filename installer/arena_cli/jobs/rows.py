"""The flags that all training jobs share. Names, short forms and defaults are upstream's (arena v0.15)."""

from __future__ import annotations

from arena_cli.flags import Flag, without

_QUEUE = (
    "it is a switch for Alibaba's kube-queue, which is not installed: nothing would let the job go; "
    "use --kueue-queue NAME"
)
_MODEL = "there is no model registry in the stack; put the model's place into a --label or --annotation"

#: Ours, and of every `submit`.
OWN = (
    Flag("dry-run", "switch", "Print what would be made, as YAML; ask and change nothing.", ours=True),
    Flag("values", "list", "A YAML file of values for the chart, laid over what the flags say.", ours=True),
)
QUEUE = Flag("kueue-queue", "text", "The LocalQueue of Kueue that admits the job.", ours=True)

COMMON = (
    Flag("name", "text", "The job's name.", required=True),
    Flag("image", "text", "The container image."),
    Flag("gpus", "number", "GPUs (nvidia.com/gpu) of each worker."),
    Flag("device", "list", "Other devices of each worker, RESOURCE=COUNT.", better="works without GPUs too"),
    Flag("workers", "number", "How many workers.", 1),
    Flag("retry", "number", "How often the job is tried again."),
    Flag(
        "working-dir",
        "text",
        "The working directory; code that is synced is in its folder code.",
        "/root",
        old=("workingDir",),
    ),
    Flag("env", "list", "An environment variable, KEY=VALUE.", short="e"),
    Flag(
        "data", "list", "A volume claim and where it is mounted, PVC:/PATH[:ro].", short="d", better="read only, by :ro"
    ),
    Flag("data-dir", "list", "A folder of the nodes, HOST[:CONTAINER].", old=("dataDir",)),
    Flag("annotation", "list", "An annotation of the job and its pods, KEY=VALUE.", short="a"),
    Flag("label", "list", "A label of the job and its pods, KEY=VALUE.", short="l"),
    Flag("rdma", "switch", "Give each worker an RDMA device (rdma/hca) and let it pin memory."),
    Flag(
        "gang",
        "switch",
        "Start all pods together or none, by Volcano (or by the --scheduler).",
        better="a PodGroup of Volcano; upstream's labels are for one scheduler that is rarely there",
    ),
    Flag("priority", "text", "The PriorityClass of the pods.", short="p"),
    Flag("queue", "switch", "", refused=_QUEUE),
    Flag(
        "toleration",
        "list",
        "A taint that is tolerated: KEY=VALUE:EFFECT, KEY:EFFECT, KEY or all.",
        better="what can't be understood is an error; upstream drops it",
    ),
    Flag("selector", "list", "A label that the nodes must have, KEY=VALUE."),
    Flag(
        "config-file",
        "list",
        "A file from here that the pods see, FILE[:CONTAINERPATH].",
        better="its content arrives (upstream 0.15 loses it)",
    ),
    Flag("image-pull-secret", "list", "A Secret with the registry's login."),
    Flag("image-pull-policy", "text", "When images are pulled.", "Always", choices=("Always", "IfNotPresent", "Never")),
    Flag("shell", "text", "The shell that runs the command.", "sh", choices=("sh", "bash")),
    Flag("scheduler", "text", "The scheduler of the pods."),
    Flag("hostNetwork", "switch", "Use the node's network."),
    Flag("hostIPC", "switch", "Use the node's IPC.", better="off unless asked for; upstream's charts turn it on"),
    Flag("hostPID", "switch", "See the node's processes.", better="off unless asked for; upstream's charts turn it on"),
    Flag("model-name", "text", "", refused=_MODEL),
    Flag("model-source", "text", "", refused=_MODEL),
)
SYNC = (
    Flag(
        "sync-mode",
        "text",
        "Fetch code before the job starts: git or rsync.",
        old=("syncMode",),
        choices=("git", "rsync"),
    ),
    Flag("sync-source", "text", "Where the code is: a git URL, or rsync's source.", old=("syncSource",)),
    Flag("sync-image", "text", "Image that fetches the code.", old=("syncImage",)),
    Flag("sync-secret", "text", "A Secret with username and password, or ssh-privatekey, for the code.", ours=True),
)
TENSORBOARD = (
    Flag("tensorboard", "switch", "Run a TensorBoard beside the job."),
    Flag("tensorboard-image", "text", "Its image.", old=("tensorboardImage",)),
    Flag(
        "logdir",
        "text",
        "Where the job writes its logs; on a --data volume, any worker may.",
        "/training_logs",
        better="a volume of the job's own instead of a folder of the node",
    ),
)

#: cpu and memory of each worker, for kinds with one shape of worker.
SHAPE = (
    Flag("cpu", "text", "CPUs of each worker (500m, 4)."),
    Flag("memory", "text", "Memory of each worker (512Mi, 16Gi)."),
)
SHM = Flag("share-memory", "text", "Size of /dev/shm.", "2Gi")
CLEAN = Flag(
    "clean-task-policy",
    "text",
    "Which pods go when the job ends.",
    "Running",
    choices=("Running", "None", "All"),
    old=("cleanTaskPolicy",),
)
TIMEOUT = Flag("running-timeout", "time", "End the job when it has run so long.")
TTL = Flag("ttl-after-finished", "time", "Remove the job so long after it ended.")
NPROC = Flag("nproc-per-node", "text", "Processes on each worker: auto, cpu, gpu or a number.")

TRAINING = (*COMMON, QUEUE, *SYNC, *TENSORBOARD, *OWN)


def training(*more: Flag, leave: tuple[str, ...] = ()) -> tuple[Flag, ...]:
    """Common flags and a kind's own; own ones stand in for common ones of the same name."""
    names = {flag.name for flag in more}
    return (*without(TRAINING, *names, *leave), *more)
