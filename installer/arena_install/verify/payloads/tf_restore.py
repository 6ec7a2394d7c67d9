"""Reads the model that a TFJob left on a volume into fresh variables, and says what these are then."""

from __future__ import annotations

import sys

import tf_model  # type: ignore[import-not-found]  # mounted beside this file
from gpu_view import report  # type: ignore[import-not-found]

#: As tf_parameter_server.py splits; other variables than it began with, so that only reading can make them equal.
_TRAIN, _SEED, _OTHER = 8000, 20, 21


def main() -> None:
    import tensorflow as tf  # type: ignore[import-untyped]

    tf_model.started(tf)
    w = tf_model.weights(tf, _OTHER)
    before = tf_model.parameter_hash(w)
    tf.train.Checkpoint(**w).read(sys.argv[1]).assert_consumed()
    _, held = tf_model.parts(_TRAIN, _SEED)
    hash = tf_model.parameter_hash(w)
    report("restored", before=before, hash=hash, held_out=len(held), accuracy=tf_model.accuracy(tf, w, held))


if __name__ == "__main__":
    main()
