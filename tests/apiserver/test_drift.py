"""Objects deleted and edited by others, on a real API server: named one by one, mended, and then as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from acts import GOOD, put
from shelf import Shelf, cluster, config_map, crd, deployment

from arena_install.plan import reasons
from arena_install.stack import inspect, wishes
from arena_install.stack.api import Api

RBAC, ADMISSION = "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"


def due(shelf: Shelf, api: Api, name: str) -> list[str]:
    """What the plan says of a component."""
    (wish,) = wishes(cluster(), [name], shelf.digest, rows=shelf.rows).values()
    return [str(reason) for reason in reasons(inspect(api).records.get(name), wish.digest)]


def edit(api: Api, api_version: str, kind: str, name: str, change: Any, namespace: str = "", part: str = "") -> None:
    """As `kubectl edit` and its like do it."""
    api.request(
        "PATCH", api.path(api_version, kind, namespace, name) + part, query={"fieldManager": "kubectl-edit"},
        body=change, content_type="application/merge-patch+json",
    )


def rule(*verbs: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}


def one_of_each(name: str) -> list[dict[str, Any]]:
    """Objects of the kinds that charts have, all called `name`."""
    meta, role = {"name": name, "namespace": name}, {"apiGroup": "rbac.authorization.k8s.io", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": name}]
    hook = {
        "name": "a.example.org", "clientConfig": {"service": {"name": name, "namespace": name}}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
        "rules": [{"apiGroups": ["x.org"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["xs"]}],
    }  # fmt: skip
    return [
        config_map(name, name),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": RBAC, "kind": "Role", "metadata": meta, "rules": [rule("get")]},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": meta, "roleRef": {**role, "kind": "Role"},
         "subjects": subjects},
        {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule("get")]},
        {"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name},
         "roleRef": {**role, "kind": "ClusterRole"}, "subjects": subjects},
        {"apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
         "webhooks": [hook]},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
         "provisioner": "x.org/y", "allowVolumeExpansion": False},
        deployment(name, name, GOOD),
    ]  # fmt: skip


EDITS: dict[str, tuple[Callable[[Api, str], object], str]] = {
    "a setting": (lambda api, n: edit(api, "v1", "ConfigMap", n, {"data": {"a": "2"}}, n), "ConfigMap {0}/{0}"),
    "a setting more": (lambda api, n: edit(api, "v1", "ConfigMap", n, {"data": {"b": "2"}}, n), "ConfigMap {0}/{0}"),
    "a label less": (
        lambda api, n: edit(api, "v1", "ConfigMap", n, {"metadata": {"labels": None}}, n),
        "ConfigMap {0}/{0}",
    ),
    "a port": (
        lambda api, n: edit(api, "v1", "Service", n, {"spec": {"ports": [{"port": 81}]}}, n),
        "Service {0}/{0}",
    ),
    "a selector more": (
        lambda api, n: edit(api, "v1", "Service", n, {"spec": {"selector": {"a": "b"}}}, n),
        "Service {0}/{0}",
    ),
    "more rights": (
        lambda api, n: edit(api, RBAC, "ClusterRole", n, {"rules": [rule("get", "delete")]}),
        "ClusterRole {0}",
    ),
    "rights in the namespace": (lambda api, n: edit(api, RBAC, "Role", n, {"rules": []}, n), "Role {0}/{0}"),
    "nobody bound": (
        lambda api, n: edit(api, RBAC, "ClusterRoleBinding", n, {"subjects": None}),
        "ClusterRoleBinding {0}",
    ),
    "replicas": (
        lambda api, n: edit(api, "apps/v1", "Deployment", n, {"spec": {"replicas": 3}}, n),
        "Deployment {0}/{0}",
    ),
    "scaled": (
        lambda api, n: edit(api, "apps/v1", "Deployment", n, {"spec": {"replicas": 2}}, n, "/scale"),
        "Deployment {0}/{0}",
    ),
    "another pod setting": (
        lambda api, n: edit(
            api, "apps/v1", "Deployment", n, {"spec": {"template": {"spec": {"hostname": "x"}}}}, n
        ),
        "Deployment {0}/{0}",
    ),
    "a webhook's scope": (
        lambda api, n: edit(api, ADMISSION, "ValidatingWebhookConfiguration", n, {"webhooks": None}),
        "ValidatingWebhookConfiguration {0}",
    ),
    "volumes that grow": (
        lambda api, n: edit(api, "storage.k8s.io/v1", "StorageClass", n, {"allowVolumeExpansion": True}),
        "StorageClass {0}",
    ),
    "Pod Security": (
        lambda api, n: edit(
            api, "v1", "Namespace", n, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
        ),
        "Namespace {0}",
    ),
    "our own label": (
        lambda api, n: edit(api, "v1", "Namespace", n, {"metadata": {"labels": None}}),
        "Namespace {0}",
    ),
    "a CRD": (
        lambda api, n: edit(
            api, "apiextensions.k8s.io/v1", "CustomResourceDefinition", f"jobs.{n}.test",
            {"spec": {"names": {"shortNames": ["j"]}, "versions": [
                {**crd("x.test", "Job")["spec"]["versions"][0], "deprecated": True}]}},
        ),
        "CustomResourceDefinition jobs.{0}.test",
    ),
    "a runtime class": (
        lambda api, n: edit(api, "node.k8s.io/v1", "RuntimeClass", n, {"metadata": {"labels": None}}),
        "RuntimeClass {0}",
    ),
    "a node's label": (
        lambda api, n: edit(api, "v1", "Node", "hollow", {"metadata": {"labels": {f"test/{n}": "no"}}}),
        "node label hollow test/{0}",
    ),
    "an account gone": (lambda api, n: api.delete("v1", "ServiceAccount", n, n), "ServiceAccount {0}/{0}"),
    "a class gone": (lambda api, n: api.delete("node.k8s.io/v1", "RuntimeClass", n), "RuntimeClass {0}"),
}  # fmt: skip


def test_every_edit_is_named_and_mended(shelf: Shelf, api: Api) -> None:
    name = "drift1"
    ours = f"apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {name}}}\nhandler: a\n"
    labels = {"gpu": {f"test/{name}": "yes"}}
    shelf.add(name, one_of_each(name), ours=ours, crds=[crd(f"{name}.test", "Job")], node_labels=labels)
    assert due(shelf, api, name) == ["not installed by us yet"]
    put(shelf, api)
    assert due(shelf, api, name) == []
    before = whole(api, name)
    left = {what: (act, item.format(name)) for what, (act, item) in EDITS.items()}
    while left:  # one edit of each object at a time
        now = {item: what for what, (_, item) in left.items()}
        for what in now.values():
            left.pop(what)[0](api, name)
        assert {reason.partition(": recorded ")[0] for reason in due(shelf, api, name)} == set(now)
        result = put(shelf, api)[name]
        assert result.outcome == "changed" and set(result.text.removeprefix("put back: ").split(", ")) == set(now)
        assert due(shelf, api, name) == []
        assert whole(api, name) == before, now


def whole(api: Api, name: str) -> dict[str, Any]:
    """Everything that an edit above touches, without what the server counts and notes."""
    places = [
        *((obj["apiVersion"], obj["kind"], name, obj["metadata"].get("namespace", "")) for obj in one_of_each(name)),
        ("v1", "Namespace", name, ""), ("node.k8s.io/v1", "RuntimeClass", name, ""),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"jobs.{name}.test", ""),
    ]  # fmt: skip
    found = {}
    for place in places:
        obj = api.get(*place)
        assert obj is not None, f"{place} is gone"
        kept = ("labels", "name", "namespace")
        obj["metadata"] = {key: value for key, value in obj["metadata"].items() if key in kept}
        found["/".join(place)] = {key: value for key, value in obj.items() if key not in ("status", "secrets")}
    node = api.get("v1", "Node", "hollow")
    assert node is not None
    return {**found, "node": node["metadata"]["labels"][f"test/{name}"]}


def test_what_controllers_fill_in_is_no_drift(shelf: Shelf, api: Api) -> None:
    name = "drift2"
    shelf.add(name, one_of_each(name))
    put(shelf, api)
    bundle = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cg=="}]
    api.request(
        "PATCH", api.path(ADMISSION, "ValidatingWebhookConfiguration", name=name), query={"fieldManager": "rotator"},
        body=bundle, content_type="application/json-patch+json",
    )  # fmt: skip
    edit(api, "v1", "Secret", name, {"data": {"tls.key": "Cg=="}}, name)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}
    template = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
    edit(api, "apps/v1", "Deployment", name, template, name)
    edit(api, "v1", "Service", name, {"metadata": {"labels": {"theirs": "yes"}}}, name)
    edit(api, "v1", "Namespace", name, {"metadata": {"labels": {"theirs": "yes"}}})
    assert due(shelf, api, name) == []


def test_a_webhook_keeps_its_authority_when_an_edit_is_taken_back(shelf: Shelf, api: Api) -> None:
    name, kind = "drift3", "ValidatingWebhookConfiguration"
    shelf.add(name, one_of_each(name))
    put(shelf, api)
    for field, value in (("clientConfig/caBundle", "Cg=="), ("matchConditions", [{"name": "x", "expression": "true"}])):
        api.request(
            "PATCH", api.path(ADMISSION, kind, name=name), query={"fieldManager": "rotator"},
            body=[{"op": "add", "path": f"/webhooks/0/{field}", "value": value}],
            content_type="application/json-patch+json",
        )  # fmt: skip
    assert [reason.partition(":")[0] for reason in due(shelf, api, name)] == [f"{kind} {name}"]
    put(shelf, api)
    found = api.get(ADMISSION, kind, name)
    assert found and found["webhooks"][0]["clientConfig"]["caBundle"] == "Cg=="
    assert "matchConditions" not in found["webhooks"][0]
    assert due(shelf, api, name) == []


def test_a_release_changed_by_hand_is_drift(shelf: Shelf, api: Api) -> None:
    shelf.add("drift4")
    put(shelf, api)
    (secret,) = api.list_objects("v1", "Secret", "drift4", labelSelector="owner=helm")
    api.merge("v1", "Secret", secret["metadata"]["name"], {"metadata": {"labels": {"status": "failed"}}}, "drift4")
    assert due(shelf, api, "drift4") == [
        "release drift4/drift4: recorded deployed, revision 1, found failed, revision 1"
    ]
    put(shelf, api)
    assert due(shelf, api, "drift4") == []


def test_looking_costs_a_request_a_kind_and_namespace(
    shelf: Shelf, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 40
    shelf.add("drift5", [config_map("drift5", f"settings-{number}") for number in range(many)])
    put(shelf, api)
    asked: list[tuple[str, str]] = []
    real = Api.request

    def request(self: Api, method: str, path: str, **more: Any) -> Any:
        if not path.endswith("/pods"):  # the hollow node's
            asked.append((method, path))
        return real(self, method, path, **more)

    monkeypatch.setattr(Api, "request", request)
    assert len(inspect(api).records["drift5"].items) == many + 2  # and the release, and the namespace
    assert {method for method, _ in asked} == {"GET"}
    assert len(asked) <= 6, asked
