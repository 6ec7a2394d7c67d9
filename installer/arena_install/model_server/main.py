"""TensorFlow Serving's surface, on TensorFlow for Python: not upstream's program, which no package registry has.

    tensorflow_model_server --model_name=NAME --model_base_path=/models/NAME [--port=8500] [--rest_api_port=8501]

Flags are upstream's. Of its API there are predict, metadata and status, by REST and gRPC; classify, regress, batching,
version labels and monitoring are not there, and asking for them is refused. It listens once every model has a version
that is loaded, as upstream's does.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import versions  # type: ignore[import-not-found]  # beside this file
import web  # type: ignore[import-not-found]
from versions import Model, Policy

log = logging.getLogger("arena-serving")
_DRAIN = (1.0, 15.0)  # seconds at least, and at most until the last client is gone


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tensorflow_model_server", description="A server of TensorFlow Serving's REST and gRPC", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=8500, help="for gRPC")
    parser.add_argument("--rest_api_port", type=int, default=0, help="for REST; 0: none")
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", type=Path, help="the folder whose subfolders are the model's versions")
    parser.add_argument("--model_config_file", type=Path, help="instead of these two: several models, as text of "
                        "ModelServerConfig")  # fmt: skip
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    parser.add_argument("--version", action="version", version=f"{web.SERVER}, not upstream's TensorFlow Serving")
    return parser


def configured(text: str, load: Callable[[Path], Any]) -> dict[str, Model]:
    """The models of a ModelServerConfig. Raises ValueError."""
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from tensorflow_serving.config import model_server_config_pb2  # type: ignore[import-not-found]

    try:
        found = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(str(error)) from None
    rows = found.model_config_list.config
    if not rows:
        raise ValueError("it names no model: expected model_config_list { config { name: ... base_path: ... } }")
    for row in rows:
        if not row.name or not row.base_path:
            raise ValueError("each config needs a name and a base_path")
    return {row.name: Model(row.name, Path(row.base_path), load, policy_of(row.model_version_policy)) for row in rows}


def policy_of(row: Any) -> Policy:
    kind = row.WhichOneof("policy_choice")
    if kind == "all":
        return lambda numbers: set(numbers)
    if kind == "specific":
        chosen = set(row.specific.versions)
        return lambda numbers: chosen & set(numbers)
    return versions.latest(row.latest.num_versions or 1)


def main(arguments: list[str]) -> int:
    parser = flags()
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if (given.model_base_path is None) == (given.model_config_file is None):
        parser.error("either --model_base_path or --model_config_file says what is served")
    log.info("%s: arena-install's server of TensorFlow Serving's REST and gRPC; not upstream's program", web.SERVER)
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    from saved import Saved  # type: ignore[import-not-found]  # loads TensorFlow: some seconds

    if given.model_config_file is not None:
        try:
            models = configured(given.model_config_file.read_text(), Saved)
        except (OSError, ValueError) as error:
            log.error("%s: %s", given.model_config_file, getattr(error, "strerror", None) or error)
            return 2
    else:
        models = {given.model_name: Model(given.model_name, given.model_base_path, Saved)}

    def poll() -> bool:
        """Whether all can be served."""
        for model in models.values():
            model.poll()
        return all(model.ready for model in models.values())

    def watch() -> None:
        while not ending.wait(given.file_system_poll_wait_seconds):
            poll()

    while not poll():
        if ending.wait(given.file_system_poll_wait_seconds):
            return 0
    threading.Thread(target=watch, daemon=True).start()
    try:
        serve(models, given.port, given.rest_api_port, ending)
    except OSError as error:
        log.error("%s", error)
        return 1
    return 0


def serve(models: dict[str, Model], port: int, rest_port: int, ending: threading.Event) -> None:
    """Until `ending` is set, and what has begun is done. Raises OSError where a port is taken."""
    import rpc  # type: ignore[import-not-found]

    grpc_server = rpc.server(port, models)
    try:
        http_server = web.Server(rest_port, models) if rest_port else None
    except OSError as error:
        raise OSError(f"REST can't listen at port {rest_port}: {error.strerror}") from None
    grpc_server.start()
    log.info("gRPC at port %d, REST at port %d", port, rest_port)
    if http_server is not None:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
    ending.wait()
    log.info("asked to end: clients connect anew elsewhere")
    stopped = grpc_server.stop(_DRAIN[1])
    if http_server is not None:
        http_server.drain(*_DRAIN)
    stopped.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
