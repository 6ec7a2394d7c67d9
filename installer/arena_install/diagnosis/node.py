"""The links that make a host a node: containerd, registry, certificates, kubelet, control plane, pod network, Ready."""

from __future__ import annotations

import time
from collections.abc import Iterator

from arena_install.diagnosis.daemons import daemon
from arena_install.diagnosis.drift import UP, drift_of, drifted, told
from arena_install.diagnosis.model import Broken, Fix, Link
from arena_install.diagnosis.view import HostView, is_member, not_ready
from arena_install.probe.facts import HostFacts

KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
_OUR_DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
_KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"


def unit(view: HostView, name: str, what: str, link: str) -> Broken | None:
    """Broken where this unit does not run; with what of the link is not as recorded, as that may be why."""
    found = view.facts.units.get(f"{name}.service") if view.facts else None
    if view.facts is None or not view.facts.units or (found and found.active == "active"):
        return None
    drift = [item for item in drift_of(view, link) if item.kind != "unit"]
    if found is None:
        return Broken(f"{what} is not installed", (f"unit {name}.service is not there", *told(drift)), (UP,))
    state = f"unit {name}.service: {found.active} ({found.sub}), {found.enabled}"
    if found.result not in ("", "success"):
        state += f", result {found.result}"
    if found.restarts:
        state += f", {found.restarts} restarts"
    start = "systemctl unmask --now" if found.enabled.startswith("masked") else "systemctl restart"
    fix = UP if drift else Fix(f"{start} {name}", view.host.name)
    return Broken(f"{what} does not run", (state, *told(drift), *found.log[-2:]), (fix,))


def _containerd(view: HostView) -> Broken | None:
    if not view.has("container_runtime"):
        return None
    return unit(view, "containerd", "containerd", "containerd") or drifted("containerd")(view)


def _registry(view: HostView) -> Broken | None:
    """On its own host the service; everywhere, whether it answers with the certificate that containerd will check."""
    if view.facts is None:
        return None
    own = view.host.name == view.registry and view.has("registry")
    if own and (broken := unit(view, "docker-registry", "the image registry", "registry")):
        return broken
    answer = view.facts.registry.answer.removesuffix(" 000").removesuffix("000").strip()
    if answer and answer != "200":
        fix = Fix("systemctl restart docker-registry", view.registry)
        seen = f"{view.facts.registry.url}: {answer if not answer.isdecimal() else 'HTTP status ' + answer}"
        return Broken("the image registry does not answer", (seen,), (fix,))
    return drifted("registry")(view)


def _certificates(view: HostView) -> Broken | None:
    expired = sorted(
        (expires, path)
        for path, expires in (view.facts.certificates if view.facts else {}).items()
        if expires < view.now and path != "/var/lib/kubelet/pki/kubelet.crt"  # its own, which nobody checks
    )
    if not expired:
        return None
    paths = [path for _, path in expired]
    seen = tuple(f"{path} expired on {_day(expires)}" for expires, path in expired[:3])
    if any(path.startswith("/etc/kubernetes") for path in paths):
        return Broken("certificates of the control plane have expired", seen, tuple(_renew(view)))
    if _KUBELET_CLIENT in paths:
        return Broken("kubelet's client certificate has expired", seen, tuple(_join_again(view)))
    # The registry makes its certificates anew where they are missing.
    folder = "/etc/arena-install/registry"
    names = "ca.* tls.*" if f"{folder}/ca.crt" in paths else "tls.*"
    remove = Fix("rm " + " ".join(f"{folder}/{name}" for name in names.split()), view.registry)
    return Broken("the image registry's certificate has expired", seen, (remove, UP))


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _renew(view: HostView) -> Iterator[Fix]:
    yield Fix("kubeadm certs renew all", view.host.name)
    restart = "for p in etcd kube-apiserver kube-controller-manager kube-scheduler; do pkill -x $p; done"
    yield Fix(restart, view.host.name)  # kubelet starts them again, with the new certificates
    yield UP


def _join_again(view: HostView) -> Iterator[Fix]:
    """A control plane can sign for itself; another node asks for a certificate by joining once more."""
    if "control_plane" in view.host.groups:
        made = "kubeadm init phase kubeconfig kubelet && systemctl restart kubelet"
        yield Fix(f"rm /etc/kubernetes/kubelet.conf /var/lib/kubelet/pki/kubelet-client-*; {made}", view.host.name)
        return
    yield Fix("rm /etc/kubernetes/kubelet.conf /var/lib/kubelet/pki/kubelet-client-*", view.host.name)
    yield UP


def _kubelet(view: HostView) -> Broken | None:
    if not is_member(view) or view.facts is None:
        return None
    if broken := unit(view, "kubelet", "kubelet", "kubelet"):
        return broken
    config = view.facts.kubelet_arguments.get("config", "")
    if config and config != KUBELET_CONFIG:
        return Broken("kubelet runs on another configuration", *_other_configuration(view, view.facts, config))
    return drifted("kubelet")(view)


def _other_configuration(view: HostView, facts: HostFacts, config: str) -> tuple[tuple[str, ...], tuple[Fix, ...]]:
    others = [path for path in facts.units["kubelet.service"].drop_ins if path != _OUR_DROP_IN]
    drift = drift_of(view, "kubelet")
    seen = (f"the running one was started with --config={config}, ours is {KUBELET_CONFIG}", *told(drift))
    restart = "systemctl daemon-reload; systemctl restart kubelet"
    if not others:
        return seen, (UP,) if drift else (Fix(restart, view.host.name),)
    return (*seen, f"not ours: {', '.join(others)}"), (Fix(f"rm {' '.join(others)}; {restart}", view.host.name),)


def _static_pod(view: HostView, name: str, what: str) -> Broken | None:
    pod = view.facts.static_pods.get(name) if view.facts and view.has("control_plane") else None
    if pod is None or pod.listens:
        return None
    seen = pod.log[-2:] or (f"nothing listens on its port; its log is in /var/log/pods/kube-system_{name}-*",)
    return Broken(f"{what} does not run", seen, (Fix("systemctl restart kubelet", view.host.name), UP))


def _etcd(view: HostView) -> Broken | None:
    return _static_pod(view, "etcd", "etcd")


def _api(view: HostView) -> Broken | None:
    return _static_pod(view, "kube-apiserver", "the API server")


def _cni(view: HostView) -> Broken | None:
    if not is_member(view) or view.facts is None:
        return None
    if not view.facts.cni:
        missing = "/etc/cni/net.d has no *.conf or *.conflist: containerd gives pods no network"
        seen = (missing, *_says(view, "NetworkReady"))
        # containerd writes it when kubelet tells it the node's range of addresses, which it does when it starts
        return Broken("the CNI configuration is missing", seen, (Fix("systemctl restart kubelet", view.host.name),))
    if "flannel" in view.api.components and view.api.answers and view.node:
        if wrong := daemon(view, "kube-flannel", "flannel"):
            restart = Fix(f"kubectl -n kube-flannel delete pod --field-selector spec.nodeName={view.node_name}")
            return Broken("flannel does not run: no way to pods of other nodes", wrong, (restart,))
        if not view.facts.flannel_subnet:
            seen = ("/run/flannel/subnet.env is not there",)
            restart = Fix(f"kubectl -n kube-flannel delete pod --field-selector spec.nodeName={view.node_name}")
            return Broken("flannel has no range of addresses for this node", seen, (restart,))
    return drifted("CNI")(view)


def _node(view: HostView) -> Broken | None:
    if not is_member(view) or not view.api.answers:
        return None
    if view.node is None:
        return Broken("the host has no node in the cluster", ("the API knows no node of its name or address",), (UP,))
    if why := not_ready(view.node):
        return Broken("the node is not Ready", (why,), (Fix("systemctl restart kubelet", view.host.name),))
    return None


def _says(view: HostView, word: str) -> tuple[str, ...]:
    """The node's word for not being ready, where it holds this one."""
    broken = _node(view)
    return broken.seen if broken and word in broken.seen[0] else ()


def _services(view: HostView) -> Broken | None:
    if not is_member(view) or not view.api.answers or view.node is None:
        return None
    if wrong := daemon(view, "kube-system", "kube-proxy"):
        restart = Fix("kubectl -n kube-system rollout restart daemonset kube-proxy")
        return Broken("kube-proxy does not run: no way to Services from this node", wrong, (restart,))
    return None


LINKS: tuple[Link[HostView], ...] = (
    Link("containerd", ("host", "disk", "memory"), _containerd),
    Link("registry", ("host", "disk"), _registry),
    Link("certificates", ("time", "host"), _certificates),
    Link("kubelet", ("containerd", "certificates", "memory"), _kubelet),
    Link("control plane", ("host",), drifted("control plane")),
    Link("etcd", ("control plane", "kubelet", "disk"), _etcd),
    Link("API", ("etcd",), _api),
    Link("CNI", ("containerd", "kubelet"), _cni),
    Link("node", ("CNI", "kubelet", "API"), _node),
    Link("services", ("node",), _services),
)
