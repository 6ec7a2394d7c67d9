"""Suite serving: models are trained, exported, served by what `arena serve` makes, and asked by clients.

Only clusters that were set up with the image that serves (profile full) are asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arena_install.verify import payloads, pods, serving
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, judged
from arena_install.verify.records import records
from arena_install.verify.registry import check
from arena_install.verify.streams import execute

_TENSORFLOW = "serving.tensorflow"
_COUNT = 200  # requests, by each way
_FLOOR = 0.8  # of the digits that were asked about
_WAYS = {"rest": "REST", "grpc": "gRPC"}
_LEAST, _REPLICAS = 1000, 2
_EACH = 50  # requests at least that each version has to answer
_STOP = "/tmp/stop"
_PORT = 8000  # of the server of one's own
_FIX = "see the logs of client and servers in the evidence; arena-install verify --suite cluster looks at the network"


@check(
    _TENSORFLOW,
    "A trained model is served, and answers as itself",
    proves="a model that was trained and exported onto a volume is served by what arena makes, and says to clients of "
    "REST and gRPC what it says itself",
    needs=("cluster.dns", "cluster.network", "storage.claim", "image:arena-serving"),
    timeout=600,
    writes=True,
)
def tensorflow(ctx: Context) -> Outcome:
    exported = serving.export(ctx)
    ctx.session.shared[_TENSORFLOW] = exported
    with serving.served(ctx, serving.model_words()) as server:
        pod = serving.client(ctx, server, f"--count={_COUNT}")
        (log,) = pods.run_all(ctx, server.namespace, [pod], "client done").values()
    told = {record["way"]: record for record in records(log, "served")}
    expected = f"{_COUNT} digits asked by REST and {_COUNT} by gRPC; every answer is the model's own"
    observed = [
        f"{title}: {row['requests']} requests, {row['failed']} failed, {_times(row)}"
        for way, title in _WAYS.items()
        if (row := told.get(way))
    ]
    return judged(
        expected, "; ".join(observed) or "nothing", answered(told), fix=_FIX, data={"exported": exported, **told}
    )


def answered(told: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong with the answers. told: way -> its tally."""
    found = []
    for way, title in _WAYS.items():
        row = told.get(way)
        if row is None:
            found.append(f"{title}: the client told nothing")
            continue
        found += serving.problems(row, title)
        if not row["failed"] and row["right"] < _FLOOR * row["requests"]:
            found.append(
                f"{title}: {row['right']} of {row['requests']} digits were recognised: the model learnt nothing"
            )
        if others := {name: count for name, count in row["versions"].items() if name != "1"}:
            found.append(f"{title}: version 1 is served, answers are of {', '.join(sorted(others))}")
    return found


@check(
    "serving.custom",
    "A server of one's own answers",
    proves="a program is served by what arena makes of its command, a file and a readiness probe, and each request to "
    "its Service is answered",
    needs=("cluster.dns", "cluster.network", "image:arena-serving"),
    timeout=240,
    writes=True,
)
def custom(ctx: Context) -> Outcome:
    program = Path(payloads.__file__).with_name("serving_custom.py")
    probe = ("path: /", f"port: {_PORT}")
    words = [
        "custom",
        "--image",
        pods.SERVING,
        "--restful-port",
        str(_PORT),
        "--config-file",
        f"{program}:/etc/serve.py",
    ]
    words += ["--readiness-probe-action", "httpGet", "--readiness-probe-option", "periodSeconds: 1"]
    words += [word for option in probe for word in ("--readiness-probe-action-option", option)]
    with serving.served(ctx, [*words, "--command", f"exec python3 /etc/serve.py serve {_PORT}"]) as server:
        command = ["python3", "/payload/serving_custom.py", "ask", server.name, str(_PORT), str(_COUNT)]
        payload = ctx.session.workspaces.payload(server.namespace)
        pod = pods.manifest(ctx, serving.client_name(ctx), pods.SERVING, command, payload=payload)
        (log,) = pods.run_all(ctx, server.namespace, [pod], "client done").values()
    told = next(iter(records(log, "served")), None)
    expected = f"{_COUNT} requests, each over a connection of its own, answered"
    if told is None:
        raise CheckFailed("the client told nothing", cause="its log has no sum", fix=_FIX)
    observed = f"{told['requests']} requests, {told['failed']} failed, {_times(told)}"
    return judged(expected, observed, serving.problems(told, "HTTP"), fix=_FIX, data=told)


@check(
    "serving.rolling-update",
    "A rolling update loses no request",
    proves="while servers of one model make way for those of another, every request of clients that stay connected is "
    "answered",
    needs=(_TENSORFLOW, "image:arena-serving"),
    timeout=900,
    writes=True,
    default=False,
    alone=True,
)
def rolling_update(ctx: Context) -> Outcome:
    with serving.served(ctx, serving.model_words(), _REPLICAS) as server:
        pod = serving.client(ctx, server, "--steady", f"--least={_LEAST}", f"--stop={_STOP}")
        name = serving.client_name(ctx)
        pods.create(ctx, server.namespace, [pod])
        _heard(ctx, server, lambda told: told["versions"].get("1", 0) >= _EACH, "requests before the update")
        began = time.monotonic()
        serving.to_second_model(ctx, server)
        serving.rolled_out(ctx, server)
        seconds = time.monotonic() - began
        _heard(ctx, server, lambda told: told["failed"] or told["versions"].get("2", 0) >= _EACH, "requests after it")
        execute(ctx.kube, server.namespace, name, ["touch", _STOP])
        pods.wait_for(ctx, server.namespace, [name], pods.done, "client done")
        told = next(iter(records(ctx.kube.logs(server.namespace, name), "steady")), None)
        pods.capture(ctx, server.namespace)
        pods.remove(ctx, server.namespace, [pod], wait=False)
    if told is None:
        raise CheckFailed("the client told nothing at its end", cause="its log has no sum", fix=_FIX)
    expected = f"at least {_LEAST:,} requests while {_REPLICAS} servers are replaced, 0 failed"
    versions = ", ".join(f"{count:,} by version {name}" for name, count in sorted(told["versions"].items()))
    observed = (
        f"{told['requests']:,} requests, {told['failed']} failed ({versions}), {_times(told)}; "
        f"replaced in {seconds:.0f} s"
    )
    return judged(expected, observed, rolled(told), fix=_FIX, data={**told, "seconds": seconds})


def _times(told: dict[str, Any]) -> str:
    return f"p50 {told['p50_ms']:g} ms, p95 {told['p95_ms']:g} ms"


def _heard(ctx: Context, server: serving.Server, enough: Callable[[dict[str, Any]], Any], what: str) -> None:
    """Wait until the client's tally is enough. Raises CheckFailed where the client does not run."""
    name = serving.client_name(ctx)

    def running(pod: Object) -> bool:
        told = records(ctx.kube.logs(server.namespace, name), "going")
        return bool(pods.running(pod) and told and enough(told[-1]))

    pods.wait_for(ctx, server.namespace, [name], running, what)


def rolled(told: dict[str, Any]) -> list[str]:
    """What is wrong with the sum of a client that asked while servers were replaced."""
    found = serving.problems(told, "the client")
    if told["requests"] < _LEAST:
        found.append(f"{told['requests']:,} requests were made, {_LEAST:,} are asked for")
    for version in ("1", "2"):
        if told["versions"].get(version, 0) < _EACH:
            found.append(f"version {version} gave {told['versions'].get(version, 0)} answers")
    return found
