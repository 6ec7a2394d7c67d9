"""Suite training, TensorFlow: TFJobs with a parameter server, and of equal workers, train for real.

Only clusters that were set up with the image that has TensorFlow (profile full) are asked.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from arena_install.errors import ArenaError
from arena_install.verify import pods, pytorchjob, tfjob, trained
from arena_install.verify.checks import jobs
from arena_install.verify.context import Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.records import records
from arena_install.verify.registry import check
from arena_install.verify.tfjob import Job
from arena_install.verify.trained import Training

_WORKERS = 2
_TRAIN, _HELD_OUT, _FLOOR = 8000, 2000, 0.9
_CLAIM, _CHECKPOINT = "checkpoint", "/checkpoint/model"
#: Of the parameter server's job: steps are 128 digits each. Of the equal workers'.
_EPOCHS, _BATCH = 3, 128
_ROUNDS = 2
_NEEDS = (
    "gpu.device-plugin",
    "cluster.dns",
    "cluster.network",
    "component:training-operator",
    "image:verify-tensorflow",
)


@check(
    "training.tfjob",
    "A TFJob trains with a parameter server",
    proves="chief, parameter server and workers find each other by TF_CONFIG, each worker on its own GPU; the loss "
    "falls, and the model is read back from a volume",
    needs=(*_NEEDS, "component:storage"),
    holds=("gpu",),
    timeout=900,
    writes=True,
)
def parameter_server(ctx: Context) -> Outcome:
    command = ["python3", "/payload/tf_parameter_server.py", f"--epochs={_EPOCHS}", f"--batch={_BATCH}"]
    command += [f"--train={_TRAIN}", f"--checkpoint={_CHECKPOINT}"]
    replicas = {"Chief": 1, "PS": 1, "Worker": _WORKERS}
    it = Job("tf-ps", command, replicas, ctx.session.gpu_names(), claim=_CLAIM)
    if (busy := _busy(ctx)) is not None:
        return busy
    namespace = ctx.session.workspaces.get("restricted")
    pods.claim(ctx, namespace, _CLAIM, 64)
    done, seconds = _train(ctx, it, namespace)
    restored = _restore(ctx, namespace)
    ctx.kube.delete(namespaced("persistentvolumeclaims", namespace, _CLAIM))
    domain = ctx.cluster.config.kubernetes.cluster_domain
    problems = [*common(it, namespace, domain, done, _EPOCHS), *served(it, done), *kept(done, restored)]
    steps = _EPOCHS * (_TRAIN // _BATCH)
    expected = (
        f"chief, parameter server and {_WORKERS} workers, told who they are; {steps} steps on the workers' own GPUs, "
        f"loss falls, more than {_FLOOR:.0%} of {_HELD_OUT:,} held-out digits right; the checkpoint reads back the same"
    )
    return _verdict(done, problems, expected, seconds)


@check(
    "training.tfjob-multiworker",
    "A TFJob of equal workers keeps one model",
    proves="workers of MultiWorkerMirroredStrategy find each other by TF_CONFIG and exchange gradients: after training "
    "the hash of the parameters is the same in all",
    needs=_NEEDS,
    holds=("gpu",),
    timeout=900,
    writes=True,
)
def multiworker(ctx: Context) -> Outcome:
    command = ["python3", "/payload/tf_mirrored.py", f"--epochs={_ROUNDS}", f"--train={_TRAIN}"]
    it = Job("tf-mirrored", command, {"Worker": _WORKERS}, ctx.session.gpu_names(), success="AllWorkers")
    if (busy := _busy(ctx)) is not None:
        return busy
    namespace = ctx.session.workspaces.get("restricted")
    done, seconds = _train(ctx, it, namespace)
    domain = ctx.cluster.config.kubernetes.cluster_domain
    problems = [*common(it, namespace, domain, done, _ROUNDS), *agreed(done)]
    expected = (
        f"{_WORKERS} workers, told who they are, each on its own GPU; loss falls, more than {_FLOOR:.0%} of "
        f"{_HELD_OUT:,} held-out digits right; one parameter hash"
    )
    return _verdict(done, problems, expected, seconds)


def _busy(ctx: Context) -> Outcome | None:
    free = sum(pytorchjob.free_gpus(ctx, node) for node in ctx.session.gpu_names())
    return skipped(f"{free} GPUs are free, {_WORKERS} are needed", fix=pytorchjob.BUSY_FIX) if free < _WORKERS else None


def _train(ctx: Context, it: Job, namespace: str) -> tuple[Training, str]:
    """Run the job to its end, and remove it; gives what it left, and how long it took. Raises CheckFailed."""
    ctx.session.readers.start(ctx, it.nodes)
    body = tfjob.manifest(ctx, it, ctx.session.workspaces.payload(namespace))
    jobs.submit(ctx, "tfjobs", tfjob.GROUP, body)
    ended = tfjob.Ended(ctx, it, namespace)
    try:
        state = jobs.finish(ctx, "tfjobs", tfjob.GROUP, it.name, ended=ended, controller=tfjob.CONTROLLER)
    except ArenaError:
        # Replicas that wait for each other would hold their GPUs as long as the run lasts, and other checks need them.
        ctx.kube.delete(namespaced("tfjobs", namespace, it.name, group=tfjob.GROUP))
        raise
    done = trained.gather(ctx, namespace, it.nodes, it.world)
    jobs.remove(ctx, "tfjobs", tfjob.GROUP, it.name)
    return done, pytorchjob.seconds(state)


def _restore(ctx: Context, namespace: str) -> dict[str, Any]:
    """What a pod that has nothing but the volume makes of it; {} if it says nothing."""
    source: Object = {"persistentVolumeClaim": {"claimName": _CLAIM}}
    payload = ctx.session.workspaces.payload(namespace)
    command = ["python3", "/payload/tf_restore.py", _CHECKPOINT]
    pod = pods.manifest(
        ctx, "tf-restore", pods.TENSORFLOW, command, payload=payload, volumes=[(source, "/checkpoint")]
    )  # fmt: skip
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = tfjob.MEMORY
    logs = pods.run_all(ctx, namespace, [pod], "pod that reads the checkpoint done")
    return next(iter(records(logs["tf-restore"], "restored")), {})


def common(job: Job, namespace: str, domain: str, done: Training, epochs: int) -> list[str]:
    """What is wrong with any TFJob's end: with what its replicas were told, had, and learnt."""
    problems = []
    for pod in job.pods():
        said = done.first(pod, "tf_config")
        problems += tfjob.misled(job, namespace, domain, pod, said["config"]) if said else [f"{pod} reported nothing"]
    digests = {str(record["data"]) for record in done.all("start")}
    if len(digests) > 1:
        problems.append(f"replicas read {len(digests)} different sets of digits from their copies of the image")
    losses = [float(record["loss"]) for record in _curve(done)]
    if len(losses) != epochs:
        problems.append(f"{len(losses)} of {epochs} epochs were reported")
    if any(later >= earlier for earlier, later in pairwise(losses)):
        problems.append(f"the loss did not fall in every epoch: {', '.join(f'{loss:.3f}' for loss in losses)}")
    finals = done.all("final")
    if not finals:
        problems.append("nobody reported an end of training")
    for record in finals:
        if record["accuracy"] <= _FLOOR or record["held_out"] != _HELD_OUT:
            problems.append(f"{record['accuracy']:.1%} of {record['held_out']} held-out digits were recognised")
    workers = {pod: node for pod, node in done.pods.items() if pod in job.workers()}
    return problems + trained.identity(done, workers, len(job.workers()))[1]


def served(job: Job, done: Training) -> list[str]:
    """What is wrong with how the parameter server's job was done: who computed, and where variables were."""
    problems = []
    for record in done.all("final"):
        steps = {str(pod): int(count) for pod, count in record["steps"].items()}
        if idle := [pod for pod in job.workers() if not steps.get(pod)]:
            problems.append(f"{', '.join(idle)} computed no step")
        if sum(steps.values()) != _EPOCHS * (_TRAIN // _BATCH) or steps.keys() - set(job.workers()):
            problems.append(f"the workers' steps are {steps}, not {_EPOCHS * (_TRAIN // _BATCH)} in all")
        if [place for place in record["servers"] if not place.startswith("/job:ps/")]:
            problems.append(f"variables were at {', '.join(record['servers'])}, not on the parameter server")
    return problems


def kept(done: Training, restored: dict[str, Any]) -> list[str]:
    """What is wrong with the model that was read back from the volume."""
    final = next(iter(done.all("final")), None)
    if final is None:
        return []
    if not restored:
        return ["the pod that reads the checkpoint reported nothing"]
    problems = []
    if restored["hash"] != final["hash"] or restored["before"] == final["hash"]:
        problems.append(f"the checkpoint reads back as {restored['hash'][:12]}, the job wrote {final['hash'][:12]}")
    if abs(restored["accuracy"] - final["accuracy"]) > 1e-3:
        problems.append(
            f"the model read back recognises {restored['accuracy']:.1%}, in the job {final['accuracy']:.1%}"
        )
    return problems


def agreed(done: Training) -> list[str]:
    """What is wrong with how equal workers end: with one hash, each after its own share."""
    hashes = {str(record["rank"]): str(record["hash"]) for record in done.all("final")}
    problems = []
    if len(hashes) != _WORKERS or len(set(hashes.values())) != 1:
        told = ", ".join(f"worker {rank} {found[:12]}" for rank, found in sorted(hashes.items())) or "none"
        problems.append(f"replicas trained apart, or some never reported: parameter hashes are {told}")
    shares = sorted(int(record["samples"]) for record in done.all("final"))
    if shares != [_TRAIN // _WORKERS] * _WORKERS:
        problems.append(f"the workers trained on {shares} digits, not on {_TRAIN // _WORKERS} each")
    return problems


def _curve(done: Training) -> list[dict[str, Any]]:
    """The epochs as one replica saw them: the chief, or the first worker."""
    return [record for record in done.epochs() if not record.get("rank")]


def _verdict(done: Training, problems: list[str], expected: str, seconds: str) -> Outcome:
    epochs = _curve(done)
    final = next(iter(done.all("final")), {})
    accuracy = float(final.get("accuracy", 0.0))
    losses = " → ".join(f"{epoch['loss']:.3f}" for epoch in epochs) or "none"
    data = {"epochs": epochs, "accuracy": accuracy, "steps": final.get("steps", {}), "hash": final.get("hash", "")}
    observed = f"loss {losses}, accuracy {accuracy:.1%}, in {seconds}"
    if problems:
        return failed(
            expected, observed, cause="\n".join(problems), data=data,
            fix="see the replicas' logs in the evidence; arena-install verify --suite gpu narrows down what GPUs do",
        )  # fmt: skip
    more = ", ".join(f"{pod} {count} steps" for pod, count in sorted(final.get("steps", {}).items()))
    return passed(expected, ", ".join(filter(None, [observed, more or f"hash {final['hash'][:12]}…"])), data=data)
