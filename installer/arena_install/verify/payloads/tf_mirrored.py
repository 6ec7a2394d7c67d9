"""A TFJob of equal workers: MultiWorkerMirroredStrategy, each with its share of the digits, gradients summed in a ring.

Each worker reports a hash of its parameters after training: equal hashes mean that gradients really were exchanged.
"""

from __future__ import annotations

import argparse
from typing import Any

import tf_model  # type: ignore[import-not-found]  # mounted beside this file
from gpu_view import report  # type: ignore[import-not-found]
from mnist import share  # type: ignore[import-not-found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64, help="of each worker")
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    tf_model.introduce()

    import tensorflow as tf  # type: ignore[import-untyped]

    tf_model.started(tf)
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    strategy = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(implementation=ring)
    )
    world, rank = strategy.num_replicas_in_sync, int(strategy.cluster_resolver.task_id)
    train, held = tf_model.parts(args.train, args.seed)
    mine = share(train, rank, world)

    def rows(_: Any) -> Any:
        found = tf.data.Dataset.from_tensor_slices(tf_model.digits(tf, mine)).shuffle(len(mine), seed=args.seed)
        return found.repeat().batch(args.batch, drop_remainder=True)

    with strategy.scope():
        w = tf_model.weights(tf, args.seed)
        optimizer = tf.compat.v1.train.AdamOptimizer(args.rate)
    batches = iter(strategy.distribute_datasets_from_function(rows))

    def step(x: Any, y: Any) -> Any:
        def one(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf_model.loss(tf, w, x, y) / world  # the optimizer adds up what the workers found
            optimizer.apply_gradients(zip(tape.gradient(loss, list(w.values())), w.values(), strict=True))
            return loss

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(one, args=(x, y)), axis=None)

    step = tf.function(step)
    for epoch in range(1, args.epochs + 1):
        losses = [float(step(*next(batches))) for _ in range(len(mine) // args.batch)]
        report("epoch", rank=rank, epoch=epoch, loss=sum(losses) / len(losses))
    report(
        "final",
        rank=rank,
        world=world,
        samples=len(mine),
        held_out=len(held),
        accuracy=tf_model.accuracy(tf, w, held),
        hash=tf_model.parameter_hash(w),
    )


if __name__ == "__main__":
    main()
