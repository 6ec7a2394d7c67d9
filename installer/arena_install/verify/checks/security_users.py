"""Suite security, the users that `arena-install user add` makes: one is made, asked with its own kubeconfig what it
may, held to its quota, and removed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from arena_install import users
from arena_install.users import Added
from arena_install.verify import made_user, pods
from arena_install.verify.context import Context
from arena_install.verify.kube import ApiError, Kube, Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

Right = tuple[str, str, str]  # verb, API group, resource

_REVIEWS = "/apis/authorization.k8s.io/v1"
#: What everybody with a name may: ask who they are and what they may.
_EVERYBODYS = {
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
    ("create", "authorization.k8s.io", "selfsubjectrulesreviews"),
    ("create", "authentication.k8s.io", "selfsubjectreviews"),
}
#: Ways out of a namespace, and out of its quota: (verb, group, resource).
_NEVER: tuple[Right, ...] = (
    ("create", "", "pods"),
    ("list", "", "secrets"),
    ("update", "", "resourcequotas"),
    ("delete", "", "resourcequotas"),
    ("patch", "", "namespaces"),
    ("create", "kueue.x-k8s.io", "localqueues"),
    ("escalate", "rbac.authorization.k8s.io", "roles"),
    ("bind", "rbac.authorization.k8s.io", "roles"),
    ("create", "", "serviceaccounts/token"),
)
_OTHERS = ("default", "kube-system", "kube-public")


@check(
    "security.made-user",
    "A user made by `user add` can do what arena does, and no more",
    proves="by its own kubeconfig: all rights that arena needs in its namespace, none in others; its quota holds; "
    "removed, it has none",
    severity="critical",
    needs=("cluster.api",),
    holds=("made-user",),
    timeout=120,
    writes=True,
)
def made(ctx: Context) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="arena-install-") as folder:
        ctx.progress("adding a user")
        try:
            added = made_user.make(ctx.session, Path(folder))
            user = Kube(added.file)
            problems = [*_rights(ctx, user, added), *_elsewhere(ctx, user), *_quota(ctx, added)]
        finally:
            ctx.progress("removing the user")
            made_user.remove(ctx.session)
        problems += _afterwards(user, added)
    rights = users.rights()
    expected = f"{len(rights)} rights in its namespace, none elsewhere but to see nodes, {made_user.GPUS} GPU at once"
    if problems:
        return failed(
            expected,
            f"{len(problems)} differences",
            cause="\n".join(problems),
            fix="kubectl get clusterrolebindings,rolebindings -A -o wide | grep -e authenticated -e arena:",
        )
    return passed(expected, "as declared; over its quota a pod was refused, removed it had no right left")


def _rights(ctx: Context, user: Kube, added: Added) -> list[str]:
    space = added.identity.namespace
    lack = [right for right in sorted(users.rights()) if not _may(user, right, space)]
    much = [right for right in _NEVER if _may(user, right, space)]
    everywhere = [right for right in sorted(users.rights(users.CLUSTER_RULES)) if not _may(user, right, "")]
    ctx.save("rights.json", {"lacks": lack, "has": much, "lacks in the cluster": everywhere})
    return [
        *(f"it may not {_words(right)} in its namespace" for right in lack),
        *(f"it may not {_words(right)} of the cluster" for right in everywhere),
        *(f"it may {_words(right)} in its namespace" for right in much),
    ]


def _elsewhere(ctx: Context, user: Kube) -> list[str]:
    """What the API server says of all rules that hold for it in namespaces of others."""
    allowed = _EVERYBODYS | users.rights(users.CLUSTER_RULES)
    found: dict[str, list[Right]] = {}
    for space in _OTHERS:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": space},
        }
        rules = user.create(f"{_REVIEWS}/selfsubjectrulesreviews", review)["status"]["resourceRules"]
        found[space] = sorted(_spread(rules) - allowed)
    ctx.save("elsewhere.json", found)
    return [f"in namespace {space} it may {_words(right)}" for space, rights in found.items() for right in rights]


def _spread(rules: Iterable[Object]) -> set[Right]:
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule.get("verbs") or ()
        for group in rule.get("apiGroups") or ("",)
        for resource in rule.get("resources") or ()
    }


def _quota(ctx: Context, added: Added) -> list[str]:
    """In a dry run, by us: the quota is the namespace's, whoever asks. One pod that fits shows that it is no other rule
    that keeps the next one out."""
    space = added.identity.namespace
    ctx.wait(lambda: _counted(ctx, space), "the quota to be counted", seconds=30, every=0.3)
    problems = []
    if refused := _refused(ctx, space, made_user.GPUS):
        problems.append(f"a pod within its quota is refused: {refused}")
    refused = _refused(ctx, space, made_user.GPUS + 1)
    ctx.save("refused.txt", refused + "\n")
    if "exceeded quota" not in refused:
        problems.append(f"a pod for {made_user.GPUS + 1} GPUs is not kept out by its quota of {made_user.GPUS}")
    return problems


def _counted(ctx: Context, space: str) -> bool | None:
    """Once controllers have been there: before that, every pod is refused."""
    quota = ctx.kube.get(namespaced("resourcequotas", space, users.ROLE))
    account = ctx.kube.find(namespaced("serviceaccounts", space, "default"))
    return True if account and (quota.get("status") or {}).get("hard") else None


def _refused(ctx: Context, space: str, gpus: int) -> str:
    """What the API says, "" where it takes the pod."""
    pod = pods.manifest(ctx, f"gpus-{gpus}", pods.BUSYBOX, ["true"], gpus=gpus)
    try:
        ctx.kube.create(namespaced("pods", space), pod, dryRun="All")
    except ApiError as error:
        return error.why
    return ""


def _afterwards(user: Kube, added: Added) -> list[str]:
    """No right but everybody's: its certificate is still good, its bindings have gone."""
    space = added.identity.namespace
    left = [right for right in sorted(users.rights()) if right[0] == "list" and _may(user, right, space)]
    left += [right for right in sorted(users.rights(users.CLUSTER_RULES)) if _may(user, right, "")]
    return [f"removed, it may still {_words(right)}" for right in left]


def _may(user: Kube, right: Right, namespace: str) -> bool:
    verb, group, resource = right
    resource, _, part = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": part, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(user.create(f"{_REVIEWS}/selfsubjectaccessreviews", review)["status"].get("allowed"))


def _words(right: Right) -> str:
    verb, group, resource = right
    return f"{verb} {resource}.{group}" if group else f"{verb} {resource}"
