"""Suite training: an ordinary user trains on every GPU node, and what a real job relies on is looked at while it runs.

One job runs (training.job); the other checks read what it left, so that each claim has a line of its own in the report.
"""

from __future__ import annotations

from itertools import pairwise

from arena_install.verify import pods, pytorchjob, trained
from arena_install.verify.context import Context
from arena_install.verify.kube import namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.registry import check
from arena_install.verify.trained import Training

_WORLD = 4  # 1 master and 3 workers
_EPOCHS = 4
_TRAIN, _HELD_OUT = 8000, 2000
_FLOOR = 0.9

_JOB_CHECK = "training.job"


@check(
    _JOB_CHECK,
    "An ordinary user's distributed job completes",
    proves="a PyTorchJob with a master and workers, one GPU each, is taken from a user who is no admin, and succeeds",
    severity="critical",
    needs=("gpu.device-plugin", "cluster.dns", "cluster.network", "component:training-operator"),
    holds=("gpu",),
    timeout=900,
    writes=True,
)
def job(ctx: Context) -> Outcome:
    nodes = ctx.session.gpu_names()
    free = sum(pytorchjob.free_gpus(ctx, node) for node in nodes)
    world = min(max(_WORLD, len(nodes)), free)
    if world < 2:
        return skipped(f"{free} GPUs are free, two are needed", fix=pytorchjob.BUSY_FIX)
    ctx.session.readers.start(ctx, nodes)
    namespace = ctx.session.workspaces.get("baseline")
    command = ["python3", "/payload/mnist.py", f"--epochs={_EPOCHS}", f"--train={_TRAIN}"]
    it = pytorchjob.Job("mnist", command, world, nodes)
    pytorchjob.submit(ctx, it, namespace)
    expected = f"1 master and {world - 1} workers succeed, submitted by ServiceAccount verify-user of {namespace}"

    state = pytorchjob.await_success(ctx, it, namespace)
    done = trained.gather(ctx, namespace, nodes, world)
    pods.capture(ctx, namespace)
    ctx.save("pytorchjob-after.yaml", state)
    ctx.session.shared[_JOB_CHECK] = done
    started = done.all("start")
    ctx.session.shared["compute"] = "CUDA" if any(record["compute"] == "cuda" for record in started) else "CPU"
    seconds = pytorchjob.seconds(state)
    ctx.kube.delete(namespaced("pytorchjobs", namespace, it.name, group=pytorchjob.KIND))
    return passed(
        expected,
        f"succeeded in {seconds}, {len(done.all('final'))} of {world} replicas finished",
        data={"world": world, "epochs": done.epochs(), "seconds": seconds},
    )


def _training(ctx: Context) -> Training:
    done: Training = ctx.session.shared[_JOB_CHECK]
    return done


@check(
    "training.learns",
    "The model learns",
    proves="training on real digits works: the loss falls in every epoch and digits never trained on are recognised",
    severity="critical",
    needs=(_JOB_CHECK,),
    timeout=30,
)
def learns(ctx: Context) -> Outcome:
    done = _training(ctx)
    epochs = done.epochs()
    losses = [float(epoch["loss"]) for epoch in epochs]
    accuracy = min((float(record["accuracy"]) for record in done.all("final")), default=0.0)
    held = min((int(record["held_out"]) for record in done.all("final")), default=0)
    problems = []
    if len(epochs) != _EPOCHS:
        problems.append(f"{len(epochs)} of {_EPOCHS} epochs were reported")
    if any(later >= earlier for earlier, later in pairwise(losses)):
        problems.append(f"the loss did not fall in every epoch: {', '.join(f'{loss:.3f}' for loss in losses)}")
    if accuracy <= _FLOOR:
        problems.append(f"{accuracy:.1%} of the held-out digits were recognised")
    if held != _HELD_OUT:
        problems.append(f"{held} digits were held out, not {_HELD_OUT}")
    ctx.save("epochs.json", epochs)
    expected = f"loss falls in each of {_EPOCHS} epochs, more than {_FLOOR:.0%} of {_HELD_OUT:,} held-out digits right"
    data = {"epochs": epochs, "accuracy": accuracy}
    if problems:
        return failed(
            expected, f"accuracy {accuracy:.1%}", cause="\n".join(problems), data=data,
            fix="see the replicas' logs of training.job; the data are in /opt/mnist of the image",
        )  # fmt: skip
    return passed(expected, f"accuracy {accuracy:.1%}, loss {losses[0]:.3f} → {losses[-1]:.3f}", data=data)


@check(
    "training.replicas-agree",
    "All replicas hold the same model",
    proves="gradients were exchanged: after training, the hash of the parameters is the same in every replica",
    severity="critical",
    needs=(_JOB_CHECK,),
    timeout=30,
)
def replicas_agree(ctx: Context) -> Outcome:
    done = _training(ctx)
    hashes = {str(record["rank"]): str(record["hash"]) for record in done.all("final")}
    expected = f"{done.world} ranks, one parameter hash"
    ctx.save("hashes.json", hashes)
    if len(hashes) != done.world or len(set(hashes.values())) != 1:
        return failed(
            expected,
            f"{len(hashes)} ranks, {len(set(hashes.values()))} different hashes",
            cause="replicas trained apart, or some never reported: "
            + ", ".join(f"rank {r} {h[:12]}" for r, h in sorted(hashes.items())),
            fix="see the replicas' logs of training.job",
        )
    return passed(expected, f"{len(hashes)} ranks, all {next(iter(hashes.values()))[:12]}…")


@check(
    "training.placement",
    "The job used every GPU node",
    proves="replicas of one job ran on all GPU nodes, so the exchange went over the network between them",
    needs=(_JOB_CHECK,),
    timeout=30,
)
def placement(ctx: Context) -> Outcome:
    done = _training(ctx)
    wanted = set(ctx.session.gpu_names())
    used = {node: sorted(p for p, n in done.pods.items() if n == node) for node in sorted(set(done.pods.values()))}
    ctx.save("placement.json", used)
    expected = f"at least one replica on each of {', '.join(sorted(wanted))}"
    observed = ", ".join(f"{node}: {len(there)}" for node, there in used.items())
    if absent := wanted - set(used):
        return failed(
            expected,
            observed,
            cause=f"no replica ran on {', '.join(sorted(absent))}",
            fix=f"kubectl describe node {min(absent)}",
        )
    return passed(expected, observed)


@check(
    "training.gpu-identity",
    "Every replica trained on its own GPU",
    proves="NVML in each replica lists exactly the UUID that the kubelet's PodResources API named for it, none twice",
    severity="critical",
    needs=(_JOB_CHECK,),
    timeout=30,
)
def gpu_identity(ctx: Context) -> Outcome:
    done = _training(ctx)
    rows, problems = trained.identity(done, done.pods, done.world)
    ctx.save("gpus.json", rows)
    expected = f"{done.world} replicas, {done.world} different UUIDs, each as PodResources says"
    if problems:
        return failed(
            expected,
            f"{len(problems)} differences",
            cause="\n".join(problems),
            fix="arena-install verify --suite gpu narrows it down",
        )
    return passed(
        expected, f"{len(rows)} replicas, {len(rows)} UUIDs, all as assigned", data={"replicas": rows}
    )
