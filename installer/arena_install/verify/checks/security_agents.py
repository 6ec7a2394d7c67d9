"""Suite security, the part that is tried out: kubelets, the registry, etcd's bytes, the rights of a user."""

from __future__ import annotations

import secrets

from arena_install import users
from arena_install.verify import rbac
from arena_install.verify.checks.cluster_network import HOST, internal
from arena_install.verify.context import Context
from arena_install.verify.kube import namespaced
from arena_install.verify.model import Outcome, failed, passed, skipped
from arena_install.verify.needs import CONTROL_PLANE
from arena_install.verify.registry import check

_UNTOUCHED = "sha256:" + "0" * 64  # of no image: what would be deleted or overwritten must not exist


@check(
    "security.kubelet",
    "Kubelets let nobody in without a name",
    proves="port 10250 refuses who does not say who they are, and the read-only port is closed, on every node",
    severity="critical",
    needs=("cluster.nodes-ready",),
    timeout=120,
    writes=True,
)
def kubelet(ctx: Context) -> Outcome:
    nodes = ctx.session.nodes()
    addresses = {str(n["metadata"]["name"]): internal(n) for n in nodes}
    names = list(addresses)
    # from another node, as an intruder would come
    said = ctx.session.agents.ask_all(
        ctx, "host", lambda node: ["sh", HOST, "kubelet", addresses[names[(names.index(node) + 1) % len(names)]]]
    )
    ctx.save("answers.txt", "".join(said.values()))
    problems = kubelet_problems("".join(said.values()), {address: name for name, address in addresses.items()})
    expected = "401 for an anonymous GET /pods at 10250, nothing at 10255"
    if problems:
        return failed(
            expected,
            f"{len(problems)} problems on {len(nodes)} nodes",
            cause="\n".join(problems),
            fix=f"on host {problems[0].partition(':')[0]}, in /var/lib/kubelet/config.yaml: "
            "authentication.anonymous.enabled false, authorization.mode Webhook, no readOnlyPort; "
            "then systemctl restart kubelet",
        )
    return passed(expected, f"{len(nodes)} kubelets answer 401, no read-only port")


def kubelet_problems(said: str, names: dict[str, str]) -> list[str]:
    """said: lines "kubelet ADDRESS STATUS open|closed". names: address -> node."""
    problems, heard = [], set()
    for line in said.splitlines():
        _, address, status, port = line.split()
        name = names.get(address, address)
        heard.add(address)
        if status != "401":
            problems.append(f"{name}: an anonymous GET /pods is answered with {status}")
        if port != "closed":
            problems.append(f"{name}: the read-only port 10255 is open")
    return problems + [f"{name}: its kubelet was not heard" for address, name in names.items() if address not in heard]


@check(
    "security.secrets-at-rest",
    "Secrets are encrypted on etcd's disk",
    proves="the bytes that etcd writes for a new Secret do not hold its value, while those for a ConfigMap do",
    severity="critical",
    required=False,  # only where etcd keeps its data on a control plane's own disk can it be read
    needs=("cluster.api",),
    timeout=120,
    writes=True,
)
def secrets_at_rest(ctx: Context) -> Outcome:
    found = ctx.kube.items(namespaced("pods", "kube-system"), labelSelector="component=etcd")
    names = [n["metadata"]["name"] for n in ctx.session.nodes() if CONTROL_PLANE in (n["metadata"].get("labels") or {})]
    members = sorted(str(pod["spec"]["nodeName"]) for pod in found if pod["spec"].get("nodeName") in names)
    if not members:
        return skipped("etcd does not run as pods of the control plane: its disk can't be read from here")
    ctx.session.agents.start(ctx, "host")
    namespace = ctx.session.workspaces.get("restricted")
    secret, config = secrets.token_hex(24), secrets.token_hex(24)  # of no use to anyone: they guard nothing
    name = "at-rest"
    for kind, mark in (("secrets", secret), ("configmaps", config)):
        body = {
            "apiVersion": "v1",
            "kind": {"secrets": "Secret", "configmaps": "ConfigMap"}[kind],
            "metadata": {"name": name},
            {"secrets": "stringData", "configmaps": "data"}[kind]: {"mark": mark},
        }
        ctx.kube.create(namespaced(kind, namespace), body)
    key = f"/registry/secrets/{namespace}/{name}"
    said = ctx.session.agents.ask_all(
        ctx, "host", lambda _: ["sh", HOST, "at_rest", secret, config, key], nodes=members
    )
    ctx.save(
        "marks.txt",
        "".join(
            f"# {node}: log, times the Secret's value, times the ConfigMap's, provider\n{text}"
            for node, text in said.items()
        ),
    )
    problems, providers = at_rest(said)
    expected = "the value of a new Secret is nowhere in etcd's newest logs, that of a ConfigMap is"
    if problems:
        return failed(
            expected,
            f"{len(problems)} of {len(members)} members write otherwise",
            cause="\n".join(problems),
            fix="on the control plane, in /etc/arena-install/kubernetes/encryption.yaml: another provider than "
            "identity first; restart kube-apiserver; then kubectl get secrets -A -o json | kubectl replace -f -",
        )
    return passed(
        expected, f"{len(members)} members, encrypted by {', '.join(sorted(providers)) or 'an unknown provider'}"
    )


def at_rest(said: dict[str, str]) -> tuple[list[str], set[str]]:
    """(what is wrong, providers seen) of lines "log FILE SECRETS CONFIGS PROVIDER", by member.

    A log in which not even the ConfigMap is found proves nothing, so that is wrong too."""
    problems, providers = [], set()
    for node, text in said.items():
        rows = [line.split() for line in text.splitlines() if line.startswith("log ")]
        if any(int(row[2]) for row in rows):
            problems.append(f"{node}: the Secret's value is in etcd's log in clear")
        elif not any(int(row[3]) for row in rows):
            problems.append(f"{node}: not even the ConfigMap is in etcd's newest logs; nothing can be said")
        providers |= {row[4].split(":")[2] for row in rows if len(row) > 4}
    return problems, providers


@check(
    "security.registry",
    "The registry takes nothing from the network",
    proves="an upload, an overwritten tag and a deletion are all refused by the registry that hosts pull from",
    severity="critical",
    required=False,  # only clusters of ours have one
    needs=("cluster.nodes-ready", "fact:lock"),
    timeout=120,
    writes=True,
)
def registry(ctx: Context) -> Outcome:
    node = list(ctx.session.agents.start(ctx, "host"))[-1]
    mirrors = ctx.session.agents.ask(ctx, "host", node, ["sh", HOST, "mirrors"]).splitlines()
    rows = [row for line in mirrors if len(row := line.split("|")) == 4 and row[2]]
    if not rows:
        return skipped(f"containerd on {node} has no mirror: images come from their own registries")
    address, ca = rows[0][2].split("/")[2], rows[0][3]
    tries = {
        "POST /v2/arena-verify/blobs/uploads/": "an upload",
        f"PUT /v2/arena-verify/manifests/{_UNTOUCHED}": "a new manifest",
        f"DELETE /v2/arena-verify/manifests/{_UNTOUCHED}": "a deletion",
        f"DELETE /v2/arena-verify/blobs/{_UNTOUCHED}": "the deletion of a layer",
    }
    answers = {
        what: ctx.session.agents.ask(
            ctx, "host", node, ["sh", HOST, "https", address, ca], stdin=f"{line}\nend\n"
        ).strip()
        for line, what in tries.items()
    }
    ctx.save("answers.json", answers)
    problems = [
        f"{what} is answered with {answer.removeprefix('answer ')}"
        for what, answer in answers.items()
        if not refused(answer)
    ]
    expected = "401, 403 or 405 for each, without and with a name"
    if problems:
        return failed(
            expected,
            f"{len(problems)} of {len(tries)} are not refused",
            cause="\n".join(problems),
            fix="on the registry's host: storage.maintenance.readonly.enabled true in /etc/docker/registry/config.yml, "
            "then systemctl restart docker-registry; arena-install up writes it so",
        )
    return passed(expected, f"{len(tries)} ways to write refused at {address}")


def refused(answer: str) -> bool:
    """A line "answer STATUS ..."; an error, or none, is no refusal."""
    return answer.split()[:2] in (["answer", "401"], ["answer", "403"], ["answer", "405"])


@check(
    "security.user",
    "A user who trains can do that, and no more",
    proves="the account by which verify submits jobs has the declared rights in its namespace, and none anywhere else",
    severity="critical",
    needs=("cluster.api",),
    timeout=60,
    writes=True,
)
def user(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    account = ctx.session.workspaces.user(namespace)
    wanted = users.rights()
    grants = rbac.of_account(rbac.read(ctx.kube), namespace, "verify-user")
    more = [
        f"{grant.where} gives {grant.role}"
        for grant in grants
        if not (grant.namespace == namespace and grant.role == "verify-user") and not _harmless(grant)
    ]
    paths = {
        f"/api/v1/namespaces/{namespace}/pods": 200,
        f"/api/v1/namespaces/{namespace}/secrets": 403,
        "/api/v1/namespaces/kube-system/pods": 403,
        "/api/v1/secrets": 403,
        "/api/v1/nodes": 403,
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": 403,
    }
    answers = {path: account.status(path) for path in paths}
    ctx.save("answers.json", {"answers": answers, "declared": sorted(map(list, wanted))})
    more += [
        f"GET {path} is answered with {answers[path]}, not {status}"
        for path, status in paths.items()
        if answers[path] != status
    ]
    expected = f"{len(wanted)} rights in its own namespace; secrets, nodes and other namespaces are refused"
    if more:
        return failed(
            expected,
            f"{len(more)} differences",
            cause="\n".join(more),
            fix="kubectl get clusterrolebindings -o wide | grep -e serviceaccounts -e authenticated",
        )
    left = "nodes, the platform's pods, RBAC and the two agents on each node take an administrator"
    return passed(expected, f"as declared; of verify, {left}")


def _harmless(grant: rbac.Grant) -> bool:
    """What every account has: discovery, version, how tokens are checked, and questions about oneself."""
    known = ("basic-user", "discovery", "public-info-viewer", "service-account-issuer-discovery")
    return grant.role in {f"system:{name}" for name in known}
