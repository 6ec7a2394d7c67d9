"""Trains the small network of tf_model.py and leaves two models for serving, the second one trained for longer.

Below the folder that it is told: digits/1 and next/2, each a SavedModel, and answers.json with what each of them says
of some digits that neither was trained on: a server of these models has to say the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tf_model  # type: ignore[import-not-found]  # mounted beside this file
from gpu_view import report  # type: ignore[import-not-found]

_TRAIN, _SEED, _BATCH, _RATE = 8000, 20, 128, 2e-3
_ASKED = 100  # held-out digits that servers are asked about
MODELS = ("digits/1", "next/2")


def main() -> None:
    import tensorflow as tf  # type: ignore[import-untyped]

    folder = Path(sys.argv[1])
    tf_model.started(tf)
    train, held = tf_model.parts(_TRAIN, _SEED)
    module = network(tf)
    optimizer = tf.compat.v1.train.AdamOptimizer(_RATE)

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf_model.loss(tf, module.w, x, y)
        optimizer.apply_gradients(zip(tape.gradient(loss, list(module.w.values())), module.w.values(), strict=True))
        return loss

    rows = tf.data.Dataset.from_tensor_slices(tf_model.digits(tf, train)).shuffle(_TRAIN, seed=_SEED)
    asked = held[:_ASKED]
    images, labels = tf_model.digits(tf, asked)
    answers: dict[str, Any] = {"indices": asked, "labels": labels.numpy().tolist(), "scores": {}}
    for place in MODELS:
        losses = [float(step(x, y)) for x, y in rows.batch(_BATCH, drop_remainder=True)]
        tf.saved_model.save(module, str(folder / place), signatures={"serving_default": module.classify})
        answers["scores"][place.rpartition("/")[2]] = module.classify(images)["scores"].numpy().tolist()
        accuracy = tf_model.accuracy(tf, module.w, held)
        report("exported", place=place, loss=sum(losses) / len(losses), accuracy=accuracy, held_out=len(held))
    (folder / "answers.json").write_text(json.dumps(answers))


def network(tf: Any) -> Any:
    class Digits(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = tf_model.weights(tf, _SEED)

        @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="images")])  # type: ignore[untyped-decorator]
        def classify(self, images: Any) -> dict[str, Any]:
            scores = tf.nn.softmax(tf_model.logits(tf, self.w, images))
            return {"scores": scores, "digit": tf.argmax(scores, 1)}

    return Digits()


if __name__ == "__main__":
    main()
