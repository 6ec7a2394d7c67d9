"""When is a component ready, and if not, what is it waiting for? One look each time; the waiting is done elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from arena_install.inventory.cluster import Cluster, Host
from arena_install.stack import pods
from arena_install.stack.api import Api, ApiError, Object
from arena_install.stack.component import Allocatable, Component
from arena_install.stack.ledger import Ref

_WEBHOOK_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
_ADMISSION = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Waiting:
    """One thing that is not as it should be yet."""

    text: str
    broken: bool = False  # waiting longer will not help


def missing(api: Api, component: Component, objects: Iterable[Ref], cluster: Cluster) -> list[Waiting]:
    """Everything that is not ready, [] when the component is. Rules build on each other, so the first kind that is
    not met is all that is reported: a webhook cannot answer before its pod runs."""
    rows = list(objects)
    for found in (
        _workloads(api, rows),
        _objects(api, component.ready.objects),
        _webhooks(api, component.ready.webhooks),
        _dry_runs(api, component.ready.dry_run),
        _allocatable(api, component.ready.allocatable, cluster) if component.ready.allocatable else [],
    ):
        if found:
            return found
    return []


def _workloads(api: Api, objects: Iterable[Ref]) -> list[Waiting]:
    found: list[Waiting] = []
    in_namespace: dict[str, list[Object]] = {}
    for ref in objects:
        if ref.kind not in pods.WORKLOADS:
            continue
        workload = api.get(ref.api_version, ref.kind, ref.name, ref.namespace)
        if workload is None:
            found.append(Waiting(f"{ref} is gone"))
            continue
        if not (lack := pods.rollout(workload)):
            continue
        if ref.namespace not in in_namespace:
            in_namespace[ref.namespace] = api.list_objects("v1", "Pod", ref.namespace)
        states = [pods.pod_state(pod) for pod in pods.owned_pods(in_namespace[ref.namespace], workload)]
        late = sorted((state for state in states if not state.ready), key=lambda state: not state.broken)
        text = f"{ref.kind} {ref.name}: {lack}"
        if late:
            text += f"; {late[0]}"
            if late[0].reason in ("ContainerCreating", "Pending", "PodInitializing"):
                text += _warning(api, ref.namespace, late[0].name)
        elif not states:
            text += _warning(api, ref.namespace, ref.name)
        found.append(Waiting(text, bool(late) and late[0].broken))
    return found


def _warning(api: Api, namespace: str, prefix: str) -> str:
    rows = pods.warnings(api, namespace, prefix)
    return f"; {pods.event_text(rows[-1])}" if rows else ""


def _objects(api: Api, wanted: Iterable[str]) -> list[Waiting]:
    found = []
    for row in wanted:
        api_version, kind, name = row.rsplit("/", 2)
        if api.get(api_version, kind, name) is None:
            found.append(Waiting(f"{kind} {name} is not there"))
    return found


def _webhooks(api: Api, names: Iterable[str]) -> list[Waiting]:
    found = []
    for name in names:
        rows = [row for kind in _WEBHOOK_KINDS if (row := api.get(_ADMISSION, kind, name))]
        if not rows:
            found.append(Waiting(f"webhook {name} is not registered"))
        for webhook in (hook for row in rows for hook in row.get("webhooks") or ()):
            client = webhook["clientConfig"]
            service = client.get("service") or {}
            if not client.get("caBundle"):
                found.append(Waiting(f"webhook {webhook['name']} has no certificate authority yet"))
            elif service and not endpoints(api, service["namespace"], service["name"]):
                found.append(Waiting(f"Service {service['namespace']}/{service['name']} of webhook has no endpoint"))
    return found


def endpoints(api: Api, namespace: str, service: str) -> int:
    """How many addresses of a Service are ready."""
    slices = api.list_objects(
        "discovery.k8s.io/v1", "EndpointSlice", namespace, labelSelector=f"kubernetes.io/service-name={service}"
    )
    return sum(
        1 for row in slices for end in row.get("endpoints") or () if (end.get("conditions") or {}).get("ready", True)
    )


def _dry_runs(api: Api, objects: Iterable[Object]) -> list[Waiting]:
    found = []
    for obj in objects:
        try:
            api.create(obj, dry_run=True)
        except ApiError as error:
            # A refusal by the webhook, or an object that is there already, is an answer too.
            if error.code == 404 or error.code >= 500 or "failed calling webhook" in error.message:
                found.append(Waiting(f"the API server can't create a {obj['kind']} yet: {error.message}"))
    return found


def _allocatable(api: Api, rule: Allocatable, cluster: Cluster) -> list[Waiting]:
    nodes = api.list_objects("v1", "Node")
    found = []
    for host in cluster.group(rule.group):
        node = node_of(host, nodes)
        if node is None:
            found.append(Waiting(f"host {host.name} has no node in the cluster"))
            continue
        count = node.get("status", {}).get("allocatable", {}).get(rule.resource, "0")
        if not str(count).isdigit() or int(count) < rule.at_least:
            found.append(Waiting(f"node {node['metadata']['name']} offers {count} {rule.resource}"))
    return found


def node_of(host: Host, nodes: Iterable[Object]) -> Object | None:
    """The node of a host: by name, else by its address."""
    addresses = {address for address in (host.node_ip, host.address) if address}
    rows = list(nodes)
    for node in rows:
        if node["metadata"]["name"] == host.name:
            return node
    for node in rows:
        if addresses & {row.get("address") for row in node.get("status", {}).get("addresses") or ()}:
            return node
    return None
