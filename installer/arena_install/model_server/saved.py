"""A SavedModel that answers: its signatures, called with what REST or gRPC brought. Needs TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]
from google.protobuf import json_format  # type: ignore[import-untyped]
from refusal import HTTP, Refusal, invalid  # type: ignore[import-not-found]  # beside this file
from tensorflow.core.protobuf import saved_model_pb2  # type: ignore[import-untyped]
from tensorflow.core.protobuf.error_codes_pb2 import Code  # type: ignore[import-untyped]

_TAG = "serve"
_FILE = "saved_model.pb"


class Saved:
    """Thread-safe. Raises Refusal where the folder holds no SavedModel for serving."""

    def __init__(self, folder: Path) -> None:
        self.signatures = _signatures(folder)  # name -> SignatureDef
        try:
            self._loaded = tf.saved_model.load(str(folder), tags=[_TAG])
        except Exception as error:  # besides its own errors, TensorFlow raises a dozen others for a broken file
            raise _refusal(error, "FAILED_PRECONDITION") from error
        self._functions = dict(self._loaded.signatures)

    def inputs(self, signature: str) -> set[str]:
        return set(self._known(signature).inputs)

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Nested lists in and out."""
        return {name: _listed(tensor.numpy()) for name, tensor in self._call(signature, inputs, tf.constant).items()}

    def run_protos(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """TensorProtos in, NumPy arrays out."""
        found = self._call(signature, inputs, lambda proto, dtype: tf.constant(tf.make_ndarray(proto), dtype))
        return {name: tensor.numpy() for name, tensor in found.items()}

    def metadata(self) -> dict[str, Any]:
        spoken = {
            name: json_format.MessageToDict(
                signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, signature in self.signatures.items()
        }
        return {"signature_def": {"signature_def": spoken}}

    def _known(self, signature: str) -> Any:
        if signature not in self.signatures:
            raise invalid(f'Serving signature name: "{signature}" not found in signature def')
        return self.signatures[signature]

    def _call(self, signature: str, inputs: Mapping[str, Any], convert: Callable[..., Any]) -> dict[str, Any]:
        known = self._known(signature)
        if set(inputs) != set(known.inputs):
            given, wanted = ", ".join(sorted(inputs)) or "none", ", ".join(sorted(known.inputs))
            raise invalid(f"input keys are {given}, the signature {signature} wants {wanted}")
        tensors = {}
        for name, value in inputs.items():
            info = known.inputs[name]
            try:
                tensor = convert(value, tf.as_dtype(info.dtype))
            except (TypeError, ValueError) as error:
                raise invalid(f"input {name}: {_short(error)}") from None
            if not tf.TensorShape(info.tensor_shape).is_compatible_with(tensor.shape):
                raise invalid(f"input {name} has shape {tensor.shape}, expected {tf.TensorShape(info.tensor_shape)}")
            tensors[name] = tensor
        try:
            return dict(self._functions[signature](**tensors))
        except tf.errors.OpError as error:
            raise _refusal(error, "INTERNAL") from error


def _signatures(folder: Path) -> dict[str, Any]:
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString((folder / _FILE).read_bytes())
    except OSError as error:
        raise Refusal("NOT_FOUND", f"{folder} has no {_FILE} that can be read: {error.strerror}") from error
    except Exception as error:
        raise Refusal("DATA_LOSS", f"{folder / _FILE} is damaged: {_short(error)}") from error
    for graph in document.meta_graphs:
        if _TAG in graph.meta_info_def.tags:
            # without the one that says how variables are initialised
            return {name: row for name, row in graph.signature_def.items() if not name.startswith("__")}
    raise Refusal("NOT_FOUND", f"{folder / _FILE} has no graph with the tag {_TAG}")


def _refusal(error: Exception, otherwise: str) -> Refusal:
    name = Code.Name(error.error_code) if isinstance(error, tf.errors.OpError) else ""
    return Refusal(name if name in HTTP else otherwise, _short(error))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


def _listed(array: Any) -> Any:
    """As JSON says it: of a float32 its shortest digits, not those of the double that it becomes."""
    if array.dtype in ("float32", "float16"):
        flat = [float(str(one)) for one in array.ravel()]
        return _shaped(flat, array.shape)
    return array.tolist()


def _shaped(flat: list[float], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0] if shape[0] else 0
    return [_shaped(flat[start * step : (start + 1) * step], shape[1:]) for start in range(shape[0])]
