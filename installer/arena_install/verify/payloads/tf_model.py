"""What the TensorFlow payloads share: what a replica reports first, the digits, and the same small network as mnist.py.

Without Keras: its version 3 trains under neither of the two strategies that TFJobs are for.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import Any

from gpu_view import report, view  # type: ignore[import-not-found]  # mounted beside this file
from mnist import DATA, SIDE, load, split  # type: ignore[import-not-found]

#: Name -> shape, in the order of the layers; each kernel is followed by its bias.
SHAPES = {
    "conv1": (5, 5, 1, 8), "conv1_bias": (8,),
    "conv2": (3, 3, 8, 16), "conv2_bias": (16,),
    "dense1": (7 * 7 * 16, 64), "dense1_bias": (64,),
    "dense2": (64, 10), "dense2_bias": (10,),
}  # fmt: skip


def introduce() -> dict[str, Any]:
    """Report which GPU NVML shows and what TF_CONFIG says, as it is; gives TF_CONFIG's content."""
    pod, node = os.environ.get("POD_NAME", ""), os.environ.get("NODE_NAME", "")
    given: dict[str, Any] = json.loads(os.environ.get("TF_CONFIG", "{}"))
    report("tf_config", pod=pod, node=node, config=given)
    report("gpus", pod=pod, node=node, **view())
    return given


def started(tf: Any) -> None:
    """Report the library, what it computes on, and the digest of the digits that this replica has."""
    tf.config.threading.set_inter_op_parallelism_threads(2)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    data = hashlib.sha256()
    for part in load():
        data.update(part)
    compute = "cuda" if tf.config.list_physical_devices("GPU") else "cpu"
    report("start", compute=compute, tensorflow=tf.__version__, data=data.hexdigest())


def weights(tf: Any, seed: int) -> dict[str, Any]:
    """Fresh variables by name, the same for the same seed."""
    made = {}
    for index, (name, shape) in enumerate(SHAPES.items()):
        fan_in = math.prod(shape[:-1])
        scale = 0.0 if name.endswith("_bias") else math.sqrt(2 / fan_in)
        made[name] = tf.Variable(tf.random.stateless_normal(shape, [seed, index]) * scale, name=name)
    return made


def logits(tf: Any, w: dict[str, Any], x: Any) -> Any:
    """x: n digits as (n, 28, 28, 1) in 0..1. Gives (n, 10)."""
    nn = tf.nn
    x = nn.relu(nn.conv2d(x, w["conv1"], strides=2, padding="SAME") + w["conv1_bias"])
    x = nn.relu(nn.conv2d(x, w["conv2"], strides=2, padding="SAME") + w["conv2_bias"])
    x = nn.relu(tf.reshape(x, [-1, 7 * 7 * 16]) @ w["dense1"] + w["dense1_bias"])
    return x @ w["dense2"] + w["dense2_bias"]


def loss(tf: Any, w: dict[str, Any], x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits(tf, w, x)))


def digits(tf: Any, indices: list[int]) -> tuple[Any, Any]:
    """These digits, read by whoever runs the operations: (n, 28, 28, 1) float32 in 0..1, and (n,) int32."""
    images = tf.reshape(tf.io.decode_raw(tf.io.read_file(f"{DATA}/images.u8"), tf.uint8), [-1, SIDE, SIDE, 1])
    labels = tf.io.decode_raw(tf.io.read_file(f"{DATA}/labels.u8"), tf.uint8)
    return tf.cast(tf.gather(images, indices), tf.float32) / 255.0, tf.cast(tf.gather(labels, indices), tf.int32)


def parts(train: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on, and held-out ones; the same everywhere."""
    return split(len(load()[1]), train, seed)  # type: ignore[no-any-return]


def accuracy(tf: Any, w: dict[str, Any], held: list[int]) -> float:
    x, y = digits(tf, held)
    return float(tf.reduce_mean(tf.cast(tf.argmax(logits(tf, w, x), 1, output_type=tf.int32) == y, tf.float32)))


def parameter_hash(w: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(w.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
