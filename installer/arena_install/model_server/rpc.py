"""The gRPC half: PredictionService and ModelService by upstream's own definitions (package tensorflow-serving-api)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import json_format  # type: ignore[import-untyped]
from refusal import Refusal  # type: ignore[import-not-found]  # beside this file
from rest import DEFAULT_SIGNATURE  # type: ignore[import-not-found]
from tensorflow.core.framework import tensor_pb2, types_pb2  # type: ignore[import-untyped]
from tensorflow_serving.apis import (  # type: ignore[import-not-found]
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from versions import Model, unknown  # type: ignore[import-not-found]

log = logging.getLogger("arena-serving")
_THREADS = 16
_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]  # as upstream

#: NumPy's kinds -> (DataType, field of a TensorProto): upstream's clients read values from these fields.
_FIELDS = {
    "float32": ("DT_FLOAT", "float_val"),
    "float64": ("DT_DOUBLE", "double_val"),
    "int8": ("DT_INT8", "int_val"),
    "int16": ("DT_INT16", "int_val"),
    "int32": ("DT_INT32", "int_val"),
    "int64": ("DT_INT64", "int64_val"),
    "uint8": ("DT_UINT8", "int_val"),
    "uint32": ("DT_UINT32", "uint32_val"),
    "uint64": ("DT_UINT64", "uint64_val"),
    "bool": ("DT_BOOL", "bool_val"),
    "object": ("DT_STRING", "string_val"),
}


def proto(value: Any) -> Any:
    """A TensorProto of a NumPy array, or of what `numpy()` gives for a scalar of bytes. Raises Refusal."""
    import numpy  # type: ignore[import-not-found]

    array = numpy.asarray(value, object if isinstance(value, bytes) else None)
    if array.dtype.name not in _FIELDS:
        raise Refusal("UNIMPLEMENTED", f"outputs of type {array.dtype} are not offered by this server")
    dtype, field = _FIELDS[array.dtype.name]
    made = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(dtype))
    made.tensor_shape.SetInParent()
    for size in array.shape:
        made.tensor_shape.dim.add(size=size)
    getattr(made, field).extend(array.ravel().tolist())
    return made


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    """Refusals become statuses of gRPC."""

    @wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except Refusal as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        except Exception as error:
            log.exception("%s", method.__name__)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")

    return call


def _number(spec: Any) -> int | None:
    if spec.version_label:
        raise Refusal("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    return int(spec.version.value) if spec.HasField("version") else None


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    def _find(self, spec: Any) -> tuple[int, Any]:
        number, model = _number(spec), self._models.get(spec.name)
        if model is None:
            raise unknown(spec.name, number)
        found: tuple[int, Any] = model.get(number)
        return found

    @_told
    def Predict(self, request: Any, context: Any) -> Any:
        number, loaded = self._find(request.model_spec)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        outputs = loaded.run_protos(signature, request.inputs)
        wanted = set(request.output_filter) or set(outputs)
        if missing := wanted - set(outputs):
            raise Refusal("INVALID_ARGUMENT", f"output tensor alias not found in signature: {sorted(missing)[0]}")
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.signature_name = request.model_spec.name, signature
        answer.model_spec.version.value = number
        for name in wanted:
            answer.outputs[name].CopyFrom(proto(outputs[name]))
        return answer

    @_told
    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        fields = list(request.metadata_field)
        if fields != ["signature_def"]:
            raise Refusal("INVALID_ARGUMENT", f"Metadata field {', '.join(fields) or 'none'} is not supported")
        number, loaded = self._find(request.model_spec)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name, answer.model_spec.version.value = request.model_spec.name, number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, row in loaded.signatures.items():
            signatures.signature_def[name].CopyFrom(row)
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    @_told
    def Classify(self, request: Any, context: Any) -> Any:
        raise Refusal("UNIMPLEMENTED", "this method is not offered by this server: use Predict")

    Regress = MultiInference = Classify


class Models(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    @_told
    def GetModelStatus(self, request: Any, context: Any) -> Any:
        model = self._models.get(request.model_spec.name)
        if model is None:
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {request.model_spec.name}")
        told = {"model_version_status": model.status(_number(request.model_spec))}
        return json_format.ParseDict(told, get_model_status_pb2.GetModelStatusResponse())

    @_told
    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        raise Refusal("UNIMPLEMENTED", "this server reads its configuration once, when it starts")


def server(port: int, models: Mapping[str, Model]) -> Any:
    """One that has not been started. Raises OSError where the port is taken."""
    made = grpc.server(ThreadPoolExecutor(_THREADS), options=[*_ANY_SIZE, ("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(models), made)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(models), made)
    try:
        made.add_insecure_port(f"[::]:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC can't listen at port {port}: {error}") from None
    return made
