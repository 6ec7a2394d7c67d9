"""What a user may do: the one place that says so. `user add` binds these rules, the accounts by which `verify` submits
jobs have them too, and a check holds a user made by the product to exactly them.

They are the least under which every verb of `arena` works for the owner of a namespace. Whoever can make jobs can read
what pods of the namespace can mount; therefore `secrets` may be got by name, but not listed.
"""

from __future__ import annotations

from typing import Any

Rule = tuple[str, tuple[str, ...], tuple[str, ...]]  # API group, resources, verbs

_OWN = ("create", "get", "list", "watch", "delete")
_CHANGE = (*_OWN, "patch")
_LOOK = ("get", "list", "watch")

#: In the namespace of one's own.
RULES: tuple[Rule, ...] = (
    ("kubeflow.org", ("tfjobs", "pytorchjobs", "mpijobs"), _CHANGE),  # patch: scalein and scaleout
    ("batch", ("jobs",), _OWN),
    ("batch", ("cronjobs",), _CHANGE),  # patch: cron suspend and resume
    ("batch.volcano.sh", ("jobs",), _OWN),
    ("scheduling.volcano.sh", ("podgroups",), _OWN),  # submit --gang
    ("workload.codeflare.dev", ("appwrappers",), _OWN),
    ("jobset.x-k8s.io", ("jobsets",), _OWN),
    ("ray.io", ("rayjobs",), _OWN),
    ("sparkoperator.k8s.io", ("sparkapplications",), _OWN),
    ("apps", ("deployments",), _CHANGE),  # serve, TensorBoard; patch: serve update
    ("", ("configmaps",), _CHANGE),  # arena's register of jobs; patch: to have the job own it
    ("", ("services", "persistentvolumeclaims"), _OWN),
    ("", ("pods", "pods/log", "events"), _LOOK),
    ("", ("pods/exec",), ("create", "get")),  # attach: over a WebSocket, which is a GET
    ("", ("secrets",), ("create", "get", "delete")),  # --image-pull-secret, --sync-secret
    # A cron's pod makes jobs. Nobody can give away rights that they don't have: the API server sees to that.
    ("", ("serviceaccounts",), ("create", "get", "delete")),
    ("rbac.authorization.k8s.io", ("roles", "rolebindings"), ("create", "get", "delete")),
    ("", ("namespaces",), ("get",)),  # the own one, by its name
    ("", ("resourcequotas",), ("get", "list")),
    ("kueue.x-k8s.io", ("localqueues", "workloads"), ("get", "list")),
)

#: Of what belongs to no namespace.
CLUSTER_RULES: tuple[Rule, ...] = (
    ("", ("nodes",), ("get", "list")),  # top node
    ("scheduling.k8s.io", ("priorityclasses",), ("get", "list")),  # submit --priority
)

#: What is no matter of looking at jobs: what is secret, what acts, who may what.
_NOT_SHOWN = {"secrets", "pods/exec", "serviceaccounts", "roles", "rolebindings"}
#: Of the account by which web pages show a user's jobs: what the user may look at, and nothing that changes anything.
VIEW_RULES: tuple[Rule, ...] = tuple(
    (group, what, tuple(verb for verb in verbs if verb in _LOOK))
    for group, what, verbs in RULES
    if not _NOT_SHOWN & {*what}
)

#: Kinds that are jobs, as the API has them: (apiVersion, kind, what people call them).
JOBS = (
    ("kubeflow.org/v1", "TFJob", "TFJob"),
    ("kubeflow.org/v1", "PyTorchJob", "PyTorchJob"),
    ("kubeflow.org/v2beta1", "MPIJob", "MPIJob"),
    ("batch.volcano.sh/v1alpha1", "Job", "Volcano Job"),
    ("workload.codeflare.dev/v1beta2", "AppWrapper", "AppWrapper"),
    ("jobset.x-k8s.io/v1alpha2", "JobSet", "JobSet"),
    ("ray.io/v1", "RayJob", "RayJob"),
    ("sparkoperator.k8s.io/v1beta2", "SparkApplication", "SparkApplication"),
    ("batch/v1", "CronJob", "CronJob"),
    ("batch/v1", "Job", "Job"),
    ("apps/v1", "Deployment", "Deployment"),
)


def rules(of: tuple[Rule, ...] = RULES) -> list[dict[str, Any]]:
    """As a Role or ClusterRole has them."""
    return [{"apiGroups": [group], "resources": list(what), "verbs": list(verbs)} for group, what, verbs in of]


def token_rule(account: str) -> dict[str, Any]:
    """To have tokens of one account, which expire and end with it: `arena dashboard` prints them."""
    return {
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [account],
        "verbs": ["create"],
    }


def rights(of: tuple[Rule, ...] = RULES) -> set[tuple[str, str, str]]:
    """(verb, group, resource), one by one."""
    return {(verb, group, resource) for group, resources, verbs in of for resource in resources for verb in verbs}
