"""How GPUs are used, by one question to Prometheus: at the address of arena's configuration, or through the API server.

It knows upstream's metrics (nvidia_gpu_duty_cycle ...) and those of NVIDIA's DCGM exporter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from arena_cli.kube.client import ApiError, Client, allowed, at
from arena_cli.look.formats import Gpus
from arena_cli.session import Session
from arena_install.errors import StepError

_MIB = 1024.0 * 1024.0
#: Metric -> (figure, factor). DCGM counts in MiB, and has what is free in place of the total.
_METRICS = {
    "nvidia_gpu_duty_cycle": ("gpuDutyCycle", 1.0),
    "nvidia_gpu_memory_used_bytes": ("usedGPUMemory", 1.0),
    "nvidia_gpu_memory_total_bytes": ("totalGPUMemory", 1.0),
    "DCGM_FI_DEV_GPU_UTIL": ("gpuDutyCycle", 1.0),
    "DCGM_FI_DEV_FB_USED": ("usedGPUMemory", _MIB),
    "DCGM_FI_DEV_FB_FREE": ("freeGPUMemory", _MIB),
}
_SERVICES = (
    ("kubernetes.io/service-name=prometheus-admin", 9335),
    ("kubernetes.io/service-name=prometheus-server", 9090),
    ("kubernetes.io/name=Prometheus", 9090),
    ("app.kubernetes.io/name=prometheus", 9090),
)
_OURS = ("prometheus", "prometheus", 9090)  # namespace, Service, port of the component `prometheus`
_TIMEOUT = 10.0  # seconds


def of_pods(session: Session, namespace: str, pods: Iterable[str]) -> dict[str, Gpus]:
    """Pod -> GPU -> figures. Raises StepError where there is no Prometheus."""
    names = sorted(set(pods))
    if not names:
        return {}
    found = parse(_ask(session, query()))
    return {name: found[namespace, name] for name in names if (namespace, name) in found}


def of_nodes(session: Session) -> dict[str, Gpus]:
    """Node -> GPU -> figures."""
    return parse_nodes(_ask(session, query()))


def query() -> str:
    return f'{{__name__=~"{"|".join(_METRICS)}"}}'


def parse(result: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Gpus]:
    """(namespace, pod) -> GPU -> figures, of an instant query's result. A metric without a pod is of nobody's GPU."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in result:
        metric = row["metric"]
        namespace = metric.get("namespace_name") or metric.get("exported_namespace") or metric.get("namespace", "")
        pod = metric.get("pod_name") or metric.get("exported_pod") or metric.get("pod", "")
        if pod:
            _add(found.setdefault((namespace, pod), {}), row)
    return {key: _whole(gpus) for key, gpus in found.items()}


def parse_nodes(result: Iterable[Mapping[str, Any]]) -> dict[str, Gpus]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in result:
        node = row["metric"].get("node_name") or row["metric"].get("Hostname") or row["metric"].get("node", "")
        if node:
            _add(found.setdefault(node, {}), row)
    return {node: _whole(gpus) for node, gpus in found.items()}


def _add(gpus: dict[str, dict[str, float]], row: Mapping[str, Any]) -> None:
    metric = row["metric"]
    figure, factor = _METRICS.get(metric.get("__name__", ""), ("", 0.0))
    index = str(metric.get("minor_number") or metric.get("gpu") or metric.get("uuid") or metric.get("UUID") or "")
    if figure and index and re.match(r"^-?[\d.e+]+$", str(row["value"][1])):
        gpus.setdefault(index, {})[figure] = float(row["value"][1]) * factor


def _whole(gpus: Mapping[str, dict[str, float]]) -> Gpus:
    for row in gpus.values():
        if "freeGPUMemory" in row:
            row.setdefault("totalGPUMemory", row.pop("freeGPUMemory") + row.get("usedGPUMemory", 0.0))
    return gpus


def _ask(session: Session, text: str) -> list[Mapping[str, Any]]:
    settings = session.settings
    if settings.prometheus_address:
        answer = _direct(settings.prometheus_address, settings.prometheus_token, text)
    else:
        answer = _by_proxy(session.client, _proxy(session.client), "query", query=text)
    return list(_data(answer)["result"])


def query_and_alerts(client: Client, text: str) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The samples of an instant query, and all alerts that fire or are about to. Raises StepError as the others do."""
    proxy = _proxy(client)
    found, alerts = client.together(
        [partial(_by_proxy, client, proxy, "query", query=text), partial(_by_proxy, client, proxy, "alerts")]
    )
    return list(_data(found)["result"]), list(_data(alerts)["alerts"])


def _data(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if answer.get("status") != "success":
        raise StepError("Prometheus did not answer the question", why=str(answer.get("error", "")))
    data: Mapping[str, Any] = answer["data"]
    return data


def _by_proxy(client: Client, proxy: str, what: str, **query: str) -> Mapping[str, Any]:
    try:
        return client.get(f"{proxy}/api/v1/{what}", **query)
    except ApiError as error:
        if error.status != 403:
            raise
        raise StepError(
            "you may not ask Prometheus",
            why=error.message,
            fix="ask its operator: `arena-install user add` lets users, also those who are there already",
        ) from error


def _proxy(client: Client) -> str:
    services = at("v1", "services")
    asks = [partial(allowed, partial(client.items, labelSelector=label), services) for label, _ in _SERVICES]
    for rows, (_, port) in zip(client.together(asks), _SERVICES, strict=True):
        if isinstance(rows, ApiError):
            return _through(*_OURS)  # whoever may not look may still be allowed to ask
        for service in rows:
            return _through(service["metadata"]["namespace"], service["metadata"]["name"], port)
    raise StepError(
        "there is no Prometheus in this cluster",
        why="figures of GPUs come from there",
        fix="the cluster's operator can install it, or name one: prometheus_address=http://... in ~/.arena/config",
    )


def _through(namespace: str, service: str, port: int) -> str:
    return at("v1", "services", namespace, f"{service}:{port}", "proxy").replace("%3A", ":")


def _direct(address: str, token: str, text: str) -> Mapping[str, Any]:
    import urllib.request

    url = f"{address.rstrip('/')}/api/v1/query?{urlencode({'query': text})}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            found: Mapping[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError) as error:
        raise StepError(
            "Prometheus does not answer",
            where=address,
            why=str(error),
            fix="correct prometheus_address in arena's configuration",
        ) from error
