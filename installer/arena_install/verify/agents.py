"""Two pods on every node that checks ask things of, started when the first check asks, for the rest of the run.

One stands in a user's place: in the pod network, without any right ("pod"). The other sees the host: its network, its
processes and, read-only at /host, its files ("host"); what it runs there by chroot are the host's own programs. A
command in a pod that runs already takes a tenth of a second, a pod of its own some seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from arena_install.errors import ArenaError, TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced
from arena_install.verify.streams import execute

if TYPE_CHECKING:
    from arena_install.verify.session import Session

Kind = Literal["pod", "host"]

#: Pods of kind "pod" carry this label, for services, and answer HTTP at this port with their node's name.
LABEL = {"arena-install.local/agent": "pod"}
PORT = 8080

_AT_ONCE = 8  # nodes that are asked side by side
_SERVE = f"echo $NODE > /www/index.html && exec busybox httpd -f -p {PORT} -h /www"
_STAY = "trap 'exit 0' TERM; sleep 7200 & wait"


class Agents:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._locks: dict[Kind, threading.Lock] = {"pod": threading.Lock(), "host": threading.Lock()}
        self._started: dict[Kind, dict[str, Object] | ArenaError] = {}

    def start(self, ctx: Context, kind: Kind) -> dict[str, Object]:
        """Have one running on every node; gives the pods by node.

        Raises CheckFailed or TimedOutError when one does not start, the same again for every check that asks.
        """
        with self._locks[kind]:
            if kind not in self._started:
                try:
                    self._started[kind] = self._start(ctx, kind)
                except ArenaError as error:
                    self._started[kind] = error
            started = self._started[kind]
        if isinstance(started, ArenaError):
            raise started
        return started

    def ask(
        self, ctx: Context, kind: Kind, node: str, command: Sequence[str], *, stdin: str = "", seconds: float = 30
    ) -> str:
        """What a command in that node's pod prints. Raises CheckFailed when it ends with anything but 0, TimedOutError
        when it takes more than `seconds`."""
        pod = self.start(ctx, kind)[node]["metadata"]
        code, out, err = execute(ctx.kube, pod["namespace"], pod["name"], command, stdin=stdin, seconds=seconds)
        if code:
            raise CheckFailed(
                f"{' '.join(command[:3])} on node {node} ended with {code}",
                cause=(err or out).strip()[-400:] or "it printed nothing",
                fix=f"kubectl describe node {node}; arena-install doctor looks at the host",
            )
        return out

    def ask_all(
        self,
        ctx: Context,
        kind: Kind,
        command: Callable[[str], Sequence[str]],
        *,
        nodes: Sequence[str] | None = None,
        stdin: str = "",
        seconds: float = 30,
    ) -> dict[str, str]:
        """Ask all nodes (or these), several at a time. command: node -> what to run there. Gives answers by node."""
        names = list(self.start(ctx, kind) if nodes is None else nodes)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = pool.map(
                lambda node: self.ask(ctx, kind, node, command(node), stdin=stdin, seconds=seconds), names
            )
            return dict(zip(names, answers, strict=True))

    def _start(self, ctx: Context, kind: Kind) -> dict[str, Object]:
        workspaces = self._session.workspaces
        namespace = workspaces.get("restricted" if kind == "pod" else "privileged")
        payload = workspaces.payload(namespace)
        make = _in_pod_network if kind == "pod" else _on_host
        nodes = [str(node["metadata"]["name"]) for node in self._session.nodes()]
        names = {node: f"agent-{kind}-{i}" for i, node in enumerate(nodes)}
        pods.create(ctx, namespace, [make(ctx, name, node, payload) for node, name in names.items()])
        try:
            up = pods.wait_for(ctx, namespace, list(names.values()), pods.running, "pods running, one on each node")
        except TimedOutError as error:
            raise _explained(ctx, namespace, names) or error from None
        return {node: up[name] for node, name in names.items()}


def _explained(ctx: Context, namespace: str, names: dict[str, str]) -> CheckFailed | None:
    """Why a pod did not get on in time, by the last warning about it; None where nobody said anything."""
    said: dict[str, str] = {}
    for event in ctx.kube.items(namespaced("events", namespace)):
        if event.get("type") == "Warning":
            said[str(event["involvedObject"].get("name"))] = str(event.get("message"))
    for node, name in names.items():
        if name in said:
            fix = f"on host {node}: journalctl -u kubelet -n 50; arena-install doctor names the broken link"
            return CheckFailed(f"pod {name} on node {node} did not start in time", cause=said[name], fix=fix)
    return None


def address(pod: Object) -> str:
    return str(pod["status"]["podIP"])


def _in_pod_network(ctx: Context, name: str, node: str, payload: str) -> Object:
    folder: Object = {"emptyDir": {}}
    return pods.manifest(
        ctx,
        name,
        pods.BUSYBOX,
        ["sh", "-c", _SERVE],
        node=node,
        env={"NODE": node},
        payload=payload,
        labels=LABEL,
        volumes=[(folder, "/www")],
        port=PORT,
    )


def _on_host(ctx: Context, name: str, node: str, payload: str) -> Object:
    root: Object = {"hostPath": {"path": "/", "type": "Directory"}}
    pod = pods.manifest(
        ctx, name, pods.BUSYBOX, ["sh", "-c", _STAY], node=node, payload=payload, volumes=[(root, "/host")]
    )
    pod["spec"] |= {"hostNetwork": True, "hostPID": True, "securityContext": {"runAsUser": 0}}
    container = pod["spec"]["containers"][0]
    container["securityContext"] = {"privileged": True}
    next(mount for mount in container["volumeMounts"] if mount["mountPath"] == "/host")["readOnly"] = True
    return pod


def service(ctx: Context, name: str, spec: Object) -> Object:
    """Make a service for the pods of kind "pod": port 80, and what `spec` says beside."""
    namespace = ctx.session.workspaces.get("restricted")
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": pods.own_labels(ctx)},
        "spec": {"selector": LABEL, "ports": [{"port": 80, "targetPort": PORT}], **spec},
    }
    return ctx.kube.create(namespaced("services", namespace), body)
