"""Where the cluster's web pages are, and a token that opens them: of an account that may only look, at one's own."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from arena_cli.kube.client import ApiError, Client, Object, at
from arena_cli.look.model import Job
from arena_install.errors import ConfigError, StepError

#: Of arena-install's component: its namespace and Service, and the account that `arena-install user add` makes.
_NAMESPACE = _SERVICE = _ACCOUNT = "dashboard"
_ADDRESS = "arena-install.local/address"
FORWARD = "kubectl -n dashboard port-forward service/dashboard 8443:443"
_FORWARDED = "https://localhost:8443"


def address(client: Client) -> str:
    """ "https://host:port", "" where there is none, or where one may not see it."""
    try:
        service = client.find(at("v1", "services", _NAMESPACE, _SERVICE))
    except ApiError as error:
        if error.status != 403:
            raise
        return ""
    if service is None:
        return ""
    spec, port = service["spec"], service["spec"]["ports"][0]
    if named := (service["metadata"].get("annotations") or {}).get(_ADDRESS):
        return str(named).rstrip("/")
    balanced = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or [{}]
    outside = balanced[0].get("hostname") or balanced[0].get("ip") or next(iter(spec.get("externalIPs") or ()), "")
    if outside:
        return f"https://{_host(str(outside))}"
    if port.get("nodePort"):
        return f"https://{_host(_node(client))}:{port['nodePort']}"
    return _FORWARDED


def _node(client: Client) -> str:
    """A node's address: where the API is, if a node is there, else the first that is ready."""
    api = urlsplit(client.access.server).hostname or ""
    try:
        nodes = client.items(at("v1", "nodes"))
    except ApiError:
        return api
    found = {_internal(node): node for node in nodes if _internal(node)}
    ready = [one for one, node in found.items() if _ready(node)]
    return api if api in found or not ready else sorted(ready)[0]


def _internal(node: Object) -> str:
    rows = (node.get("status") or {}).get("addresses") or ()
    return next((str(row["address"]) for row in rows if row["type"] == "InternalIP"), "")


def _ready(node: Object) -> bool:
    rows = (node.get("status") or {}).get("conditions") or ()
    return any(row["type"] == "Ready" and row["status"] == "True" for row in rows)


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def page(base: str, job: Job, pod: str = "") -> str:
    """The address of a job's page, with the log of one of its pods."""
    parts = [job.namespace, job.name, *([pod] if pod else [])]
    return f"{base}/jobs/{'/'.join(quote(part, safe='') for part in parts)}?type={job.type}"


def token(client: Client, namespace: str, seconds: int) -> str:
    """Raises StepError where there is no such account, or it is not for who asks."""
    api = "authentication.k8s.io/v1"
    body = {"apiVersion": api, "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    try:
        made = client.create(at("v1", "serviceaccounts", namespace, _ACCOUNT, "token"), body)
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        raise StepError(
            f"you have no account for the web pages in namespace {namespace}",
            why=error.message,
            fix="the cluster's operator makes it: `arena-install user add`, also for users who are there already;\n"
            "an administrator takes another one: kubectl -n dashboard create token viewer",
        ) from error
    return str(made["status"]["token"])


def missing() -> ConfigError:
    return ConfigError(
        "this cluster has no web pages, or they are not for you",
        fix="its operator installs them (`arena-install up --profile full`), and `arena-install user add` lets users",
    )
