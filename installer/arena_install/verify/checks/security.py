"""Suite security, the part that the API and the hosts' files tell: who gets in, who may do what, what pods can do."""

from __future__ import annotations

from collections.abc import Mapping

from arena_install import paths, stack
from arena_install.plan import load_roles
from arena_install.probe.services import PrivateFile
from arena_install.verify import powers, rbac
from arena_install.verify.checks.host import REACHED, finding, told
from arena_install.verify.checks.platform import pods as platform_pods
from arena_install.verify.context import Context
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check
from arena_install.verify.workspace import RUN_LABEL

#: What Kubernetes lets everyone see: health and version.
_OPEN = ("/livez", "/readyz", "/healthz", "/version")
_CLOSED = (
    "/api/v1/namespaces/kube-system/secrets",
    "/api/v1/namespaces/kube-system/configmaps",
    "/api/v1/nodes",
    "/api/v1/pods",
    "/apis",
    "/metrics",
    "/openapi/v3",
)
_NOBODY = {("User", "", "system:anonymous"), ("Group", "", "system:unauthenticated")}
_KNOWN_OPEN = {"system:public-info-viewer", "kubeadm:bootstrap-signer-clusterinfo"}  # health; the CA, for joining
_ADMINS = {("Group", "", "system:masters"), ("Group", "", "kubeadm:cluster-admins")}

_PREFIX = "pod-security.kubernetes.io"
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


@check(
    "security.anonymous",
    "Nobody gets in without a name",
    proves="the API refuses who does not say who they are, everywhere but at health and version",
    severity="critical",
    needs=("cluster.api",),
    timeout=30,
)
def anonymous(ctx: Context) -> Outcome:
    nobody = ctx.kube.as_user()
    answers = {path: nobody.status(path) for path in (*_CLOSED, *_OPEN)}
    ctx.save("answers.json", answers)
    problems = [f"GET {path} is answered with {answers[path]}" for path in _CLOSED if answers[path] not in (401, 403)]
    grants = [g for g in rbac.read(ctx.kube) if _NOBODY & set(g.subjects) and g.role not in _KNOWN_OPEN]
    problems += [f"{grant.where} gives {grant.role} to {rbac.people(grant)}" for grant in grants]
    expected = f"401 or 403 for {len(_CLOSED)} paths, no binding for system:anonymous but those of kubeadm"
    if problems:
        fix = "find the binding: kubectl get clusterrolebindings,rolebindings -A -o wide | grep -e anonymous -e unauth"
        if grants:
            fix = f"kubectl delete {_object(grants[0])}"
        return failed(expected, f"{len(problems)} ways in", cause="\n".join(problems), fix=fix)
    return passed(expected, f"{len(_CLOSED)} paths refused")


def _object(grant: rbac.Grant) -> str:
    """A binding as kubectl wants it."""
    if grant.namespace:
        return f"rolebinding {grant.binding} -n {grant.namespace}"
    return f"clusterrolebinding {grant.binding}"


@check(
    "security.admins",
    "Only administrators are cluster-admin",
    proves="no account, user or group but those that kubeadm makes has every right in the cluster",
    severity="critical",
    needs=("cluster.api",),
    timeout=30,
)
def admins(ctx: Context) -> Outcome:
    all_mighty = [grant for grant in rbac.read(ctx.kube) if not grant.namespace and grant.everything]
    strange = [grant for grant in all_mighty if set(grant.subjects) - _ADMINS]
    expected = "cluster-admin, and roles like it, only for system:masters and kubeadm:cluster-admins"
    if strange:
        return failed(
            expected,
            f"{len(strange)} other bindings",
            cause="\n".join(f"{grant.where} gives {grant.role} to {rbac.people(grant)}" for grant in strange),
            fix=f"kubectl delete {_object(strange[0])}; bind a role with the rights that are needed instead",
        )
    return passed(expected, f"{len(all_mighty)} bindings, all known")


@check(
    "security.default-accounts",
    "Pods without an account of their own have no rights",
    proves="no namespace's default service account can read secrets or make pods, nor can every account by a group",
    needs=("cluster.api",),
    timeout=30,
)
def default_accounts(ctx: Context) -> Outcome:
    grants = rbac.read(ctx.kube)
    spaces = [space["metadata"]["name"] for space in ctx.kube.items("/api/v1/namespaces")]
    rights = (
        ("get", "secrets"),
        ("list", "secrets"),
        ("watch", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
    )
    problems: dict[str, tuple[rbac.Grant, list[str]]] = {}
    for space in spaces:
        for grant in rbac.of_account(grants, space, "default"):
            can = [f"{verb} {resource}" for verb, resource in rights if grant.allows(verb, resource)]
            if can:
                problems[grant.where] = grant, can
    expected = f"the default accounts of {len(spaces)} namespaces can neither read secrets nor make pods"
    if problems:
        found = problems.values()
        lines = [f"{g.where} lets {rbac.people(g)} {', '.join(can)} (role {g.role})" for g, can in found]
        fix = f"kubectl delete {_object(next(iter(found))[0])}; give the pods that need it an account of their own"
        return failed(expected, f"{len(problems)} bindings give them rights", cause="\n".join(lines), fix=fix)
    return passed(expected, f"{len(spaces)} default accounts have none of these rights")


@check(
    "security.pod-security",
    "Every namespace of the platform says what its pods may do",
    proves="namespaces that are ours and those of Kubernetes enforce a level of Pod Security, each the declared one",
    needs=("cluster.api",),
    timeout=30,
)
def pod_security(ctx: Context) -> Outcome:
    wanted = {row.namespace.name: row.namespace.pod_security for row in stack.catalogue().values()}
    rows, problems = {}, []
    for space in ctx.kube.items("/api/v1/namespaces"):
        name, labels = space["metadata"]["name"], space["metadata"].get("labels") or {}
        if name not in _SYSTEM and labels.get("app.kubernetes.io/managed-by") != "arena-install":
            continue
        level = rows[name] = labels.get(f"{_PREFIX}/enforce", "")
        if not level:
            problems.append((name, wanted.get(name, "restricted"), f"{name} enforces no level"))
        elif name in wanted and level != wanted[name] and RUN_LABEL not in labels:
            problems.append((name, wanted[name], f"{name} enforces {level}, its component declares {wanted[name]}"))
    ctx.save("levels.json", rows)
    expected = f"the label {_PREFIX}/enforce on every one of them"
    if problems:
        name, level, _ = problems[0]
        return failed(
            expected,
            f"{len(problems)} of {len(rows)} namespaces are not as declared",
            cause="\n".join(line for *_, line in problems),
            fix=f"kubectl label namespace {name} --overwrite {_PREFIX}/enforce={level}",
        )
    return passed(expected, f"{len(rows)} namespaces: {', '.join(sorted(rows))}")


@check(
    "security.privileges",
    "Pods can do what was declared, and no more",
    proves="no pod of the platform is privileged or in the host's network or files beyond its component's row",
    severity="critical",
    needs=("cluster.api",),
    timeout=30,
)
def privileges(ctx: Context) -> Outcome:
    declared = declarations()
    found = platform_pods(ctx)
    ctx.save("pods.yaml", found)
    lines, strong = [], 0
    for pod in found:
        strong += bool(powers.powers(pod))
        if extra := powers.undeclared(pod, declared.get(pod["metadata"]["namespace"], {})):
            lines.append(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {', '.join(sorted(extra))}")
    expected = "what pods have beyond Pod Security's baseline is in their component's or role's row"
    if lines:
        space, _, name = lines[0].partition(":")[0].partition("/")
        return failed(
            expected,
            f"{len(lines)} of {len(found)} pods have more",
            cause="\n".join(lines),
            fix=f"kubectl -n {space} get pod {name} -o yaml shows who made it; kubectl -n {space} delete pod {name}",
        )
    return passed(expected, f"{len(found)} pods, {strong} of them with declared powers")


def declarations() -> dict[str, powers.Declared]:
    """Namespace -> workload -> words, by the rows of components and roles."""
    rows: dict[str, powers.Declared] = {row.namespace.name: row.privileges for row in stack.catalogue().values()}
    system: dict[str, tuple[str, ...]] = {}
    for role in load_roles(paths.data_dir() / "roles"):
        system |= role.privileges
    return {**rows, "kube-system": system}


@check(
    "security.files",
    "Private files are private",
    proves="keys, kubeconfigs, manifests and etcd's data on hosts are root's alone, and so is our kubeconfig here",
    severity="critical",
    needs=(REACHED,),
    timeout=30,
)
def files(ctx: Context) -> Outcome:
    hosts = ctx.session.hosts.reached(ctx)
    mode = ctx.kube.file.stat().st_mode & 0o777
    own = []
    if mode & 0o077:
        path = str(ctx.kube.file)
        own.append(
            finding("this machine", "The kubeconfig is open", f"{path} is {mode:04o}", "0600", f"chmod 600 {path}")
        )
    ctx.save("files.txt", "".join(_listing(name, host.private) for name, host in hosts.items()))
    count = sum(len(host.private) for host in hosts.values())
    expected = "no access for group and others, owner root"
    return told(
        ctx, ("private-file-open",), expected, f"{count} files on {len(hosts)} hosts, and the kubeconfig here", own
    )


def _listing(host: str, private: Mapping[str, PrivateFile]) -> str:
    return "".join(f"{host} {file.mode:04o} {file.owner}:{file.group} {path}\n" for path, file in private.items())
