"""A TFJob with a parameter server: the chief hands out steps, workers compute them, variables live on the server.

TensorFlow's ParameterServerStrategy, asynchronous. Each worker reads its own copy of the digits and says with every
step who it is. The chief writes the trained model to a volume; tf_restore.py reads it back.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Any

# A worker that is not there yet is waited for, not given up.
os.environ["GRPC_FAIL_FAST"] = "use_caller"

import tf_model  # type: ignore[import-not-found]  # mounted beside this file
from gpu_view import report  # type: ignore[import-not-found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--checkpoint", default="/checkpoint/model")
    args = parser.parse_args()
    tf_model.introduce()

    import tensorflow as tf  # type: ignore[import-untyped]

    tf_model.started(tf)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type in ("ps", "worker"):
        server = tf.distribute.Server(
            resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc"
        )
        server.join()  # until the pod is ended: a TFJob is done when its chief is
    else:
        coordinate(tf, resolver, args)


def coordinate(tf: Any, resolver: Any, args: argparse.Namespace) -> None:
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    train, held = tf_model.parts(args.train, args.seed)
    with strategy.scope():
        w = tf_model.weights(tf, args.seed)
        momentum = {name: tf.Variable(tf.zeros_like(one), trainable=False) for name, one in w.items()}

    def share() -> Any:
        x, y = tf_model.digits(tf, train)
        who = tf.strings.strip(tf.io.read_file("/etc/hostname"))
        rows = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(args.train).repeat()
        return rows.batch(args.batch, drop_remainder=True).map(lambda x, y: (x, y, who))

    def step(rows: Any) -> Any:
        x, y, who = next(rows)
        with tf.GradientTape() as tape:
            loss = tf_model.loss(tf, w, x, y)
        for name, gradient in zip(w, tape.gradient(loss, list(w.values())), strict=True):
            momentum[name].assign(0.9 * momentum[name] + gradient)
            w[name].assign_sub(args.rate * momentum[name])
        return loss, who

    step = tf.function(step)
    rows = iter(coordinator.create_per_worker_dataset(share))
    steps: Counter[str] = Counter()
    for epoch in range(1, args.epochs + 1):
        done = [coordinator.schedule(step, args=(rows,)) for _ in range(args.train // args.batch)]
        coordinator.join()
        found = [one.fetch() for one in done]
        steps.update(who.decode() for _, who in found)
        report("epoch", epoch=epoch, loss=float(sum(loss for loss, _ in found)) / len(found))
    mine = {name: tf.Variable(one.read_value(), name=name) for name, one in w.items()}
    path = tf.train.Checkpoint(**mine).write(args.checkpoint)
    written = {file.name: file.stat().st_size for file in Path(path).parent.glob(Path(path).name + "*")}
    servers = sorted({one.device for one in w.values()})
    report(
        "final",
        steps=dict(steps),
        servers=servers,
        held_out=len(held),
        accuracy=tf_model.accuracy(tf, mine, held),
        hash=tf_model.parameter_hash(mine),
        checkpoint=written,
    )


if __name__ == "__main__":
    main()
