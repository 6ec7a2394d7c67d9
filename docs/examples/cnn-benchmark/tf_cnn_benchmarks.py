"""How many images a second a TFJob trains on: residual networks on made-up images, variables on parameter servers.

Takes the flags of TensorFlow's old tf_cnn_benchmarks.py that Kubeflow's CNN example used, and does what they say with
today's TensorFlow: each worker computes gradients by itself and applies them to the variables that live on the `ps`
tasks of TF_CONFIG (between-graph replication, asynchronous). Without TF_CONFIG it runs alone.

usage: python3 tf_cnn_benchmarks.py --model=resnet50 --batch_size=32 --variable_update=parameter_server
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

#: Bottleneck blocks of each stage: He et al., "Deep Residual Learning for Image Recognition", 2015, table 1.
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
CLASSES = 1000


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    flags.add_argument("--model", choices=sorted(BLOCKS), default="resnet50")
    flags.add_argument("--batch_size", type=int, default=4, help="images of one step of one worker")
    flags.add_argument("--image_size", type=int, default=64, help="pixels of a side; 224 is what the networks are for")
    flags.add_argument("--num_batches", type=int, default=10, help="steps that are measured, of each worker")
    flags.add_argument("--num_warmup_batches", type=int, default=1)
    flags.add_argument("--display_every", type=int, default=1)
    flags.add_argument("--learning_rate", type=float, default=0.001)
    flags.add_argument("--variable_update", choices=["parameter_server"], default="parameter_server")
    flags.add_argument("--local_parameter_device", choices=["cpu"], default="cpu", help="where `ps` keeps variables")
    flags.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="where workers compute")
    flags.add_argument("--num_gpus", type=int, choices=[0, 1], default=0, help="of each worker, with --device=gpu")
    flags.add_argument("--data_format", choices=["NHWC"], default="NHWC")
    flags.add_argument("--flush_stdout", default="true", help="taken for its old scripts: output is never held back")
    return flags


def main() -> None:
    args = parser().parse_args()
    given = json.loads(os.environ.get("TF_CONFIG") or "{}")
    task, index = given.get("task", {}).get("type", "worker"), int(given.get("task", {}).get("index", 0))

    import tensorflow as tf

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    target, placement = "", tf1.device(f"/{args.device}:0")
    if cluster := given.get("cluster"):
        server = tf1.train.Server(tf1.train.ClusterSpec(cluster), job_name=task, task_index=index)
        if task == "ps":
            say(f"parameter server {index} of {len(cluster['ps'])} serves until the job ends")
            server.join()
        target = server.target
        me = f"/job:{task}/task:{index}/{args.device}:0"
        placement = tf1.device(tf1.train.replica_device_setter(cluster=cluster, worker_device=me))
    say(f"TensorFlow {tf.__version__}, {args.model}, {args.image_size} x {args.image_size}, on {args.device}")
    say(f"{args.batch_size} images a step, {len(given.get('cluster', {}).get('worker', [0]))} workers, this is {index}")
    with placement:
        run(tf, tf1, args, target, chief=index == 0)


def run(tf: Any, tf1: Any, args: argparse.Namespace, target: str, *, chief: bool) -> None:
    """Build the graph where `placement` says, then step and measure."""
    shape = [args.batch_size, args.image_size, args.image_size, 3]
    images = tf1.random.uniform(shape, -1, 1, seed=1)
    labels = tf1.random.uniform([args.batch_size], 0, CLASSES, tf.int32, seed=2)
    logits = network(tf1, images, BLOCKS[args.model])
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    tf1.train.get_or_create_global_step()
    train = tf1.train.GradientDescentOptimizer(args.learning_rate).minimize(loss)
    parameters = sum(int(one.shape.num_elements()) for one in tf1.trainable_variables())
    places = sorted({one.device for one in tf1.trainable_variables()})
    say(f"{parameters:,} parameters on {', '.join(places) or 'this machine'}")
    threads = tf1.ConfigProto(allow_soft_placement=args.device == "cpu")
    # The first worker makes the variables, others wait for them. No hooks: nothing is written anywhere.
    with tf1.train.MonitoredTrainingSession(
        master=target, is_chief=chief, config=threads, log_step_count_steps=None, save_summaries_steps=None,
        save_checkpoint_secs=None,
    ) as session:  # fmt: skip
        for _ in range(args.num_warmup_batches):
            session.run(train)
        say("Step\tImg/sec\ttotal_loss")
        begun = since = time.monotonic()
        for step in range(1, args.num_batches + 1):
            _, value = session.run([train, loss])
            if step % args.display_every == 0:
                now = time.monotonic()
                say(f"{step}\timages/sec: {args.batch_size * args.display_every / (now - since):.2f}\t{value:.3f}")
                since = now
        total = args.batch_size * args.num_batches / (time.monotonic() - begun)
    say("-" * 64)
    say(f"total images/sec: {total:.2f}")
    say("-" * 64)


def network(tf1: Any, x: Any, blocks: tuple[int, ...]) -> Any:
    """A residual network with bottleneck blocks, NHWC; gives logits of CLASSES classes."""
    x = unit(tf1, x, "stem", 64, 7, 2)
    x = tf1.nn.max_pool2d(x, 3, 2, "SAME")
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            name, stride = f"stage{stage}/block{block}", 2 if stage and not block else 1
            short = x if block else unit(tf1, x, f"{name}/short", 4 * width, 1, stride, relu=False)
            y = unit(tf1, x, f"{name}/a", width, 1, 1)
            y = unit(tf1, y, f"{name}/b", width, 3, stride)
            y = unit(tf1, y, f"{name}/c", 4 * width, 1, 1, relu=False)
            x = tf1.nn.relu(y + short)
    x = tf1.reduce_mean(x, axis=[1, 2])
    weights = tf1.get_variable("logits/weights", [x.shape[-1], CLASSES])
    return tf1.matmul(x, weights) + tf1.get_variable("logits/bias", [CLASSES], initializer=tf1.zeros_initializer())


def unit(tf1: Any, x: Any, name: str, filters: int, size: int, stride: int, *, relu: bool = True) -> Any:
    """Convolution, normalisation over the batch, and the rectifier."""
    kernel = tf1.get_variable(
        f"{name}/kernel", [size, size, x.shape[-1], filters], initializer=tf1.variance_scaling_initializer(2.0)
    )  # fmt: skip
    scale = tf1.get_variable(f"{name}/scale", [filters], initializer=tf1.ones_initializer())
    offset = tf1.get_variable(f"{name}/offset", [filters], initializer=tf1.zeros_initializer())
    x = tf1.nn.conv2d(x, kernel, strides=[1, stride, stride, 1], padding="SAME")
    x = tf1.nn.fused_batch_norm(x, scale, offset, is_training=True)[0]
    return tf1.nn.relu(x) if relu else x


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
