"""Users on a real API server, whose RBAC, quotas and signer are Kubernetes' own: made, mended, killed half way, held to
their rights, removed without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from shelf import cluster

from apiserver_fixture import ControlPlane, artifacts_here, binary
from arena_install import users
from arena_install.artifacts import load_lock
from arena_install.errors import ConfigError
from arena_install.events import ignore
from arena_install.inventory.cluster import Cluster
from arena_install.inventory.config import Config
from arena_install.stack import catalogue, install, uninstall, wishes
from arena_install.stack.api import Api, ApiError
from arena_install.users import Added, Wish, certificate, names
from arena_install.users.objects import RBAC
from arena_install.verify import made_user, needs, registry
from arena_install.verify.context import Context
from arena_install.verify.kube import Kube
from arena_install.verify.session import Session

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "e2e"))

import objects  # noqa: E402

KUEUE = "kueue.x-k8s.io/v1beta2"

Add = Callable[..., Added]


def kubectl(file: Path, *words: str, check: bool = True) -> str:
    tool = str(Path(sys.executable).parent / "kubectl")
    done = subprocess.run([tool, "--kubeconfig", str(file), *words], capture_output=True, text=True, check=check)
    return done.stdout + ("" if check else done.stderr)


@pytest.fixture
def everything(control_plane: ControlPlane) -> Callable[[], set[str]]:
    return partial(objects.take, partial(kubectl, control_plane.kubeconfig))


@pytest.fixture
def add(api: Api, control_plane: ControlPlane, tmp_path: Path) -> Iterator[Add]:
    """add(name, **wishes) -> Added; whoever is left at the end is removed."""
    to = users.door(control_plane.kubeconfig, "test")

    def make(name: str, file: Path | None = None, **wishes: Any) -> Added:
        return users.add(api, Wish(name, **wishes), to, file or tmp_path / f"{name}.kubeconfig")

    yield make
    for user in users.users(api):
        users.remove(api, user)


@pytest.fixture
def kueue(api: Api) -> Iterator[None]:
    """Kueue's own CRDs, without its controller: of the version that is asked for, so that nothing is converted."""
    resolved = artifacts_here(["kueue-crds"])
    if resolved is None:
        pytest.skip("no CRDs of Kueue on this machine: make them first (`arena-install up --profile full`)")
    wanted = ("ClusterQueue", "LocalQueue", "ResourceFlavor")
    made = [obj for obj in yaml.safe_load_all(resolved.file("kueue-crds").read_text()) if obj]
    made = [obj for obj in made if obj["spec"]["names"]["kind"] in wanted]
    for obj in made:
        obj["spec"].pop("conversion", None)
        versions = obj["spec"]["versions"]
        obj["spec"]["versions"] = [row | {"storage": True} for row in versions if row["name"] == "v1beta2"]
        api.apply(obj, force=True)
    for kind in wanted:
        _until(lambda kind=kind: Api(api.kubeconfig).knows(KUEUE, kind))  # type: ignore[misc]
    api._resources.clear()
    yield
    for obj in made:
        api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", obj["metadata"]["name"])
        api.wait_gone("apiextensions.k8s.io/v1", "CustomResourceDefinition", obj["metadata"]["name"])
    api._resources.clear()


def _until(true: Callable[[], bool], seconds: float = 30) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def outcomes(added: Added) -> set[str]:
    return {outcome for _, outcome in added.done}


def test_a_user_is_made_is_there_and_goes_without_a_trace(
    add: Add, api: Api, everything: Callable[[], set[str]]
) -> None:
    before = everything()
    first = add("alice", gpus=2, cpu="8", memory="16Gi")
    assert outcomes(first) == {"made"} and first.file.stat().st_mode & 0o777 == 0o600
    made = everything()
    again = add("alice")
    assert outcomes(again) == {"there"} and again.hard == first.hard and again.until == first.until
    assert everything() == made
    assert kubectl(first.file, "config", "view", "-o", "jsonpath={.contexts[0].context.namespace}") == "alice"
    assert kubectl(first.file, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == first.identity.user
    space = api.get("v1", "Namespace", "alice") or {}
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    _until(lambda: users.rows(api)[0].gpus == 2)
    assert users.rows(api)[0].as_dict() == {
        "name": "alice", "namespace": "alice", "gpus": {"used": 0, "quota": 2}, "jobs": {}, "queue": "",
        "certificate_until": certificate.written(first.until), "state": "ready",
    }  # fmt: skip
    removed = users.remove(api, users.find(api, "alice"))
    assert {"Namespace alice", "ClusterRole arena-user", "ClusterRoleBinding arena-user-alice"} <= set(removed.gone)
    assert everything() == before and users.users(api) == []
    assert "Forbidden" in kubectl(first.file, "get", "pods", check=False)


def test_what_components_give_to_all_users_and_only_components(
    add: Add, api: Api, everything: Callable[[], set[str]]
) -> None:
    mine = add("mallory").identity
    for space in ("prometheus", "mallory"):
        if space == "prometheus":
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        labels = {names.FOR_USERS_LABEL: "true"}
        rules = [{"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}]
        meta = {"name": "reader", "namespace": space, "labels": labels}
        api.create({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    before = everything()
    alice = add("alice")
    question = ("auth", "can-i", "get", "services", "--subresource=proxy", "-n")
    assert kubectl(alice.file, *question, "prometheus", check=False).startswith("yes")
    assert kubectl(alice.file, *question, "mallory", check=False).startswith("no")
    assert outcomes(add("alice")) == {"there"}
    assert "mended" not in outcomes(add("mallory")) and mine.user != alice.identity.user
    users.remove(api, users.find(api, "alice"))
    assert kubectl(alice.file, *question, "prometheus", check=False).startswith("no")
    api.delete(f"{RBAC}/v1", "RoleBinding", "reader:mallory", "prometheus")
    assert everything() == before
    api.delete("v1", "Namespace", "prometheus")
    api.wait_gone("v1", "Namespace", "prometheus")


def test_what_was_changed_by_hand_is_mended_and_nothing_else(add: Add, api: Api) -> None:
    first = add("alice", gpus=2)
    api.delete(f"{RBAC}/v1", "Role", "arena-user", "alice")
    api.merge("v1", "ResourceQuota", "arena-user", {"spec": {"hard": {"requests.nvidia.com/gpu": "4"}}}, "alice")
    api.merge(f"{RBAC}/v1", "ClusterRoleBinding", "arena-user-alice", {"subjects": None})
    bound = api.get(f"{RBAC}/v1", "RoleBinding", "arena-user", "alice") or {}
    api.delete(f"{RBAC}/v1", "RoleBinding", "arena-user", "alice")
    bad = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "arena-user", "namespace": "alice"},
           "roleRef": {**bound["roleRef"], "kind": "ClusterRole", "name": "view"}, "subjects": bound["subjects"]}
    api.create(bad)
    first.file.write_text(first.file.read_text().replace("namespace: alice", "namespace: default"))
    mended = dict(add("alice", gpus=2).done)
    assert mended == {
        "Namespace alice": "there", "ClusterRole arena-user": "there", "ClusterRoleBinding arena-user-alice": "mended",
        "Role arena-user": "made", "RoleBinding arena-user": "mended", "ResourceQuota arena-user": "mended",
        "ServiceAccount dashboard": "there", "Role dashboard": "there", "RoleBinding dashboard": "there",
        f"kubeconfig {first.file}": "mended",
    }  # fmt: skip
    assert outcomes(add("alice")) == {"there"}
    assert kubectl(first.file, "get", "pods", check=False).startswith("No resources found")


class Killed(BaseException):
    pass


def _killed_after(api: Api, monkeypatch: pytest.MonkeyPatch, writes: int, act: Callable[[], object]) -> bool:
    """Whether the act was cut off: the API has had so many writes of it, and nothing more was done."""
    left = writes
    real = api.request

    def request(method: str, path: str, **more: Any) -> Any:
        nonlocal left
        answer = real(method, path, **more)
        if method != "GET":
            left -= 1
            if left == 0:
                raise Killed
        if left < 0:
            raise AssertionError(f"{method} {path} after the end")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(api, "request", request)
        # what `finally` would do does not happen in a killed process either
        patch.setattr(api, "delete", lambda *words: False if left <= 0 else Api.delete(api, *words))
        try:
            act()
        except Killed:
            return True
    return False


def test_killed_at_any_moment_the_next_one_finishes(
    add: Add, api: Api, everything: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try gets one write further than the one before, from what that one left."""
    before = everything()
    adds = next(n for n in range(1, 60) if not _killed_after(api, monkeypatch, n, lambda: add("alice", gpus=1)))
    assert adds > 10
    whole = add("alice")
    assert outcomes(whole) == {"there"} and users.rows(api)[0].as_dict()["state"] == "ready"
    assert kubectl(whole.file, "get", "pods", check=False).startswith("No resources found")
    for n in range(1, 60):
        found = [user for user in users.users(api) if user.name == "alice"]
        if not found or not _killed_after(api, monkeypatch, n, lambda: users.remove(api, users.find(api, "alice"))):
            break
        assert "Forbidden" in kubectl(whole.file, "get", "pods", check=False)
    else:
        raise AssertionError("it never ends")
    assert users.users(api) == [] and everything() == before


#: Where user bob is, a namespace foreign, and a binding with the name that user taken's would have.
REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("Alice", {}, "can't be the name of a user"),
    ("a_b", {}, "such as a-b"),
    ("a" * 60, {}, "51 are the most"),
    ("alice", {"namespace": "b" * 64}, "63 are the most"),
    ("kube-system", {}, "is the platform's"),
    ("alice", {"namespace": "kubeflow"}, "is the platform's"),
    ("alice", {"namespace": "default"}, "is the platform's"),
    ("foreign", {}, "none that arena-install made"),
    ("alice", {"namespace": "bob"}, "it is user bob's"),
    ("bob", {"namespace": "other"}, "has the namespace bob already"),
    ("alice", {"gpus": -1}, "less than none"),
    ("alice", {"cpu": "many"}, "is no amount"),
    ("alice", {"memory": "64GiB"}, "such as 64Gi"),
    ("alice", {"days": 0}, "not from 1 to 3650"),
    ("alice", {"queue": "gold"}, "this cluster has no queues"),
    ("taken", {}, "did not make"),
)


def test_what_can_not_be_meant_is_said_before_anything_is_made(
    add: Add, api: Api, everything: Callable[[], set[str]]
) -> None:
    add("bob")
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foreign"}})
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    meta = {"name": "arena-user-taken"}
    api.create({"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": meta, "roleRef": ref})
    try:
        before = everything()
        for name, wishes, what in REFUSED:
            with pytest.raises(ConfigError) as caught:
                add(name, **wishes)
            assert what in str(caught.value) and caught.value.exit_code == 2, (name, wishes)
        assert everything() == before
    finally:
        api.delete("v1", "Namespace", "foreign")
        api.delete(f"{RBAC}/v1", "ClusterRoleBinding", "arena-user-taken")


def test_a_file_of_somebody_elses_is_not_overwritten(add: Add, api: Api, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("dear diary")
    for file in (note, tmp_path):
        with pytest.raises(ConfigError):
            add("alice", file)
    assert note.read_text() == "dear diary" and users.users(api) == []


def test_who_comes_later_under_the_same_name_is_somebody_else(add: Add, api: Api, tmp_path: Path) -> None:
    old = add("alice")
    users.remove(api, users.find(api, "alice"))
    new = add("alice", tmp_path / "new.kubeconfig")
    assert old.identity.user != new.identity.user
    assert "Forbidden" in kubectl(old.file, "get", "pods", check=False)
    assert kubectl(new.file, "get", "pods", check=False).startswith("No resources found")


def test_revoked_an_old_kubeconfig_is_worthless_whatever_it_prepared(add: Add, api: Api, tmp_path: Path) -> None:
    old = add("alice")
    kubectl(old.file, "create", "rolebinding", "again", "--role=arena-user", f"--user={old.identity.user}")
    kubectl(old.file, "create", "configmap", "work")
    told = add("alice").notes
    assert len(told) == 1 and "RoleBinding again, not ours, gives rights in alice" in told[0]
    new = add("alice", tmp_path / "new.kubeconfig", revoke=True)
    assert ("removed" in outcomes(new)) and new.notes == []
    assert "Forbidden" in kubectl(old.file, "get", "configmaps", check=False)
    assert "work" in kubectl(new.file, "get", "configmaps")
    assert outcomes(add("alice", tmp_path / "new.kubeconfig")) == {"there"}


def test_what_all_users_share_goes_with_the_last_one(add: Add, api: Api) -> None:
    add("alice"), add("bob")
    users.remove(api, users.find(api, "alice"))
    assert api.get(f"{RBAC}/v1", "ClusterRole", "arena-user")
    users.remove(api, users.find(api, "bob"))
    assert api.get(f"{RBAC}/v1", "ClusterRole", "arena-user") is None


def test_a_user_that_nobody_made_is_not_removed(api: Api) -> None:
    for name in ("default", "nobody"):
        with pytest.raises(ConfigError, match=f"no user {name}"):
            users.find(api, name)
    labels = {names.USER_LABEL: "mallory"}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mallory", "labels": labels}})
    try:
        with pytest.raises(ConfigError, match="does not say that arena-install made it"):
            users.find(api, "mallory")
    finally:
        api.delete("v1", "Namespace", "mallory")
        api.wait_gone("v1", "Namespace", "mallory")


# what a user may


def test_a_user_keeps_to_its_namespace_and_its_quota(add: Add, api: Api, tmp_path: Path) -> None:
    alice, _ = add("alice", gpus=1), add("bob")
    for words in (
        ("get", "pods", "-n", "bob"), ("get", "pods", "-A"), ("get", "secrets"), ("get", "namespaces"),
        ("delete", "resourcequota", "arena-user"), ("label", "namespace", "alice", "x=y"), ("run", "x", "--image=x"),
        ("create", "token", "default"), ("create", "rolebinding", "x", "--clusterrole=cluster-admin", "--user=x"),
        ("create", "role", "x", "--verb=delete", "--resource=resourcequotas"),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", f"--user={alice.identity.user}"),
        ("create", "configmap", "x", "-n", "bob"),
    ):  # fmt: skip
        said = kubectl(alice.file, *words, check=False)
        assert "orbidden" in said, (words, said)
    assert "hollow" in kubectl(alice.file, "get", "nodes")
    _until(lambda: bool((api.get("v1", "ResourceQuota", "arena-user", "alice") or {}).get("status", {}).get("hard")))

    def pod(gpus: int) -> None:
        amount = {"nvidia.com/gpu": str(gpus)}
        containers = [{"name": "c", "image": "i", "resources": {"limits": amount, "requests": amount}}]
        meta = {"name": "p", "namespace": "alice"}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}},
                   dry_run=True)  # fmt: skip

    pod(1)
    with pytest.raises(ApiError, match="refused") as caught:
        pod(2)
    assert caught.value.code == 403 and "exceeded quota" in caught.value.message


def test_with_a_quota_of_cpus_pods_that_ask_for_none_still_start(add: Add, api: Api) -> None:
    add("alice", cpu="4", memory="8Gi")
    _until(lambda: bool((api.get("v1", "ResourceQuota", "arena-user", "alice") or {}).get("status", {}).get("hard")))
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "alice"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}
    found = api.create(body, dry_run=True)
    assert found["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "100m", "memory": "256Mi"}


def test_every_verb_of_arena_works_for_its_owner(
    add: Add, api: Api, control_plane: ControlPlane, tmp_path: Path
) -> None:
    helm, resolved = binary("helm"), artifacts_here(["training-operator-crds"])
    if helm is None or resolved is None:
        pytest.skip("no artifacts on this machine: make them first (`arena-install up`)")
    crds = [obj for obj in yaml.safe_load_all(resolved.file("training-operator-crds").read_text()) if obj]
    for obj in crds:
        api.apply(obj, force=True)
    _until(lambda: Api(api.kubeconfig).knows("kubeflow.org/v1", "PyTorchJob"))
    file = add("alice", gpus=2).file
    environment = {**os.environ, "KUBECONFIG": str(file), "ARENA_HELM": str(helm), "HOME": str(tmp_path),
                   "PYTHONPATH": str(ROOT / "installer")}

    def arena(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "arena_cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert ("may not do this" in done.stderr) == (code == 1), (words, done.stderr)
        return done.stdout + done.stderr

    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "alice"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    api.create(claim)
    kubectl(file, "create", "secret", "docker-registry", "pull", "--docker-username=u", "--docker-password=p")
    try:
        arena("submit", "pytorch", "--name", "one", "--image", "i", "--gpus", "1", "--data", "data:/data",
              "--image-pull-secret", "pull", "--tensorboard", "python train.py")  # fmt: skip
        arena("submit", "tf", "--name", "two", "--image", "i", "--workers", "2", "--ps", "1", "python train.py")
        arena("submit", "etjob", "--name", "three", "--image", "i", "--max-workers", "3", "python train.py")
        arena("cron", "tfjob", "--name", "four", "--image", "i", "--schedule", "0 3 * * *", "python train.py")
        arena("serve", "custom", "--name", "llm", "--version", "v1", "--image", "i", "--restful-port", "80", "serve")
        assert {"one", "two", "three"} <= {line.split()[0] for line in arena("list").splitlines()[1:]}
        arena("get", "one", "-e")
        arena("scaleout", "etjob", "--name", "three", "-t", "1ms", code=5)
        arena("cron", "list"), arena("cron", "suspend", "four"), arena("cron", "get", "four")
        _until(lambda: "llm" in arena("serve", "list"))
        arena("serve", "get", "llm"), arena("serve", "update", "custom", "--name", "llm", "--version", "v1",
                                            "--replicas", "0")  # fmt: skip
        assert "data" in arena("data", "list") and "hollow" in arena("top", "node")
        arena("top", "job"), arena("whoami"), arena("prune", "--since", "1h")
        more = arena("submit", "pytorch", "--name", "big", "--image", "i", "--gpus", "3", "c", code=2)
        assert "the quota of namespace alice has 2" in more
        arena("submit", "pytorch", "--name", "stray", "-n", "default", "--image", "i", "c", code=1)
        row = users.rows(api)[0]
        assert row.jobs == {"PyTorchJob": 2, "TFJob": 1, "CronJob": 1, "Deployment": 1}
        lost = users.loss(api, row.user)
        assert lost.jobs == row.jobs and "data (1Gi)" in lost.claims
        arena("serve", "delete", "llm"), arena("cron", "delete", "four"), arena("delete", "one", "two", "three")
        _until(lambda: users.rows(api)[0].jobs == {})
    finally:
        for obj in crds:
            api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", obj["metadata"]["name"])


# queues


def queue(api: Api, name: str, selector: Any) -> None:
    row = {"name": "mine", "resources": [{"name": "cpu", "nominalQuota": "4"}]}
    spec = {"namespaceSelector": selector, "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [row]}]}
    api.create({"apiVersion": KUEUE, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": spec})


def test_the_first_user_brings_the_queue_and_the_last_takes_it_away(kueue: None, add: Add, api: Api) -> None:
    assert add("alice").queue == add("bob").queue == "whole-cluster"
    made = api.get(KUEUE, "ClusterQueue", "whole-cluster") or {}
    (group,) = made["spec"]["resourceGroups"]
    quota = {row["name"]: row["nominalQuota"] for row in group["flavors"][0]["resources"]}
    assert quota == {"cpu": "64", "memory": "256Gi", "nvidia.com/gpu": "4"}
    assert set(group["coveredResources"]) == set(quota)
    assert outcomes(add("alice")) == {"there"} and users.rows(api)[0].queue == "whole-cluster"
    users.remove(api, users.find(api, "alice"))
    assert api.get(KUEUE, "ClusterQueue", "whole-cluster")
    gone = users.remove(api, users.find(api, "bob")).gone
    assert {"ClusterQueue whole-cluster", "ResourceFlavor any-node"} <= set(gone)
    assert not api.list_objects(KUEUE, "ClusterQueue") and not api.list_objects(KUEUE, "ResourceFlavor")


def test_a_queue_that_was_changed_by_hand_stays_so(kueue: None, add: Add, api: Api) -> None:
    add("alice")
    path = "/spec/resourceGroups/0/flavors/0/resources/2/nominalQuota"
    change = json.dumps([{"op": "replace", "path": path, "value": "3"}])
    kubectl(api.kubeconfig, "patch", "clusterqueue", "whole-cluster", "--type=json", "-p", change)
    added = add("alice")
    assert outcomes(added) == {"there"} and "stays as it was changed" in added.notes[0]


def test_which_queue_is_taken(kueue: None, add: Add, api: Api) -> None:
    try:
        queue(api, "team", {})
        assert add("alice").queue == "team"
        queue(api, "night", {"matchLabels": {"shift": "night"}})
        for wishes, what in (
            ({}, "2 ClusterQueues"), ({"queue": "teem"}, "did you mean `team`"), ({"queue": "night"}, "takes no jobs"),
        ):  # fmt: skip
            with pytest.raises(ConfigError) as caught:
                add("bob", **wishes)
            assert what in str(caught.value)
        with pytest.raises(ConfigError, match="go to team"):
            add("alice", queue="night")
        assert add("bob", queue="team").queue == "team" and add("alice").queue == "team"
        for name in ("alice", "bob"):
            users.remove(api, users.find(api, name))
        assert len(api.list_objects(KUEUE, "ClusterQueue")) == 2
    finally:
        for name in ("team", "night"):
            api.delete(KUEUE, "ClusterQueue", name)


# the check


@pytest.fixture
def context(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Context]:
    kube, cluster = Kube(control_plane.kubeconfig), Cluster("test", (), Config(), None)
    session = Session("abc123", cluster, kube, None, needs.Facts((), False, "", False), tmp_path, lambda _: None)
    # No ServiceAccount controller's account is waited for by others: the check asks for it itself.
    yield Context(session, registry.load()["security.made-user"])


def test_the_check_passes_and_leaves_nothing(
    context: Context, api: Api, everything: Callable[[], set[str]]
) -> None:
    before = everything()
    outcome = context.check.run(context)
    assert outcome.status == "pass", outcome
    assert context.session.workspaces.close(0) == [] and everything() == before


def test_the_check_sees_rights_too_many_and_a_quota_that_does_not_hold(
    context: Context, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    who = [{"apiGroup": RBAC, "kind": "Group", "name": "system:authenticated"}]
    meta = {"name": "test-everybody"}
    api.create({"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": meta, "roleRef": ref,
                "subjects": who})  # fmt: skip
    monkeypatch.setattr(made_user, "GPUS", 9)  # of the wish
    real = made_user.make

    def make(session: Session, folder: Path) -> Added:
        added = real(session, folder)
        monkeypatch.setattr(made_user, "GPUS", 1)  # of what is looked for
        return added

    monkeypatch.setattr(made_user, "make", make)
    try:
        outcome = context.check.run(context)
    finally:
        api.delete(f"{RBAC}/v1", "ClusterRoleBinding", "test-everybody")
    assert outcome.status == "fail"
    assert "in namespace kube-system it may list pods" in outcome.cause
    assert "is not kept out by its quota" in outcome.cause and "removed, it may still list pods" in outcome.cause


def test_what_a_killed_run_left_is_swept(
    context: Context, api: Api, everything: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = everything()
    with monkeypatch.context() as patch:
        patch.setattr("arena_install.verify.workspace._LIFETIME", -1)
        made_user.make(context.session, tmp_path)
    made_user.sweep(context.kube)
    assert everything() == before


# the command


def test_the_command_from_end_to_end(control_plane: ControlPlane, api: Api, tmp_path: Path) -> None:
    inventory, state = tmp_path / "hosts.ini", tmp_path / "state"
    inventory.write_text("[control_plane]\ncp1 ansible_host=127.0.0.1 ip=10.9.8.7\n")
    (state / "clusters" / "mine").mkdir(parents=True)
    config = tmp_path / "cluster.yaml"
    config.write_text("name: mine\n")
    environment = {**os.environ, "ARENA_INSTALL_STATE": str(state)}

    def arena_install(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "arena_install", "user", *words, "-i", str(inventory), "-c", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert "was not set up from here" in arena_install("add", "carol", code=2)
    (state / "clusters/mine/kubeconfig").write_text(control_plane.kubeconfig.read_text())
    made = json.loads(arena_install("add", "carol", "--gpus", "2", "--json"))
    assert made["namespace"] == "carol" and Path(made["kubeconfig"]) == state / "clusters/mine/users/carol.kubeconfig"
    assert "carol" in arena_install("list")
    listed = json.loads(arena_install("list", "-o", "json"))
    assert listed["users"][0]["gpus"] == {"used": 0, "quota": 2} and listed["cluster"] == "mine"
    assert "= Role arena-user" in arena_install("add", "carol")
    assert "did you mean `carol`" in arena_install("remove", "karol", "--yes", code=2)
    assert "add --yes" in arena_install("remove", "carol", "--json", code=2)
    gone = json.loads(arena_install("remove", "carol", "--yes", "--json"))
    assert "Namespace carol" in gone["gone"] and not Path(made["kubeconfig"]).exists()
    assert "has no users" in arena_install("list")


@pytest.fixture
def hub(api: Api, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """JupyterHub by its own chart, whose pod only seems to run. Gives what takes it out."""
    resolved = artifacts_here(["helm", "jupyterhub"])
    if resolved is None:
        pytest.skip("no chart of JupyterHub on this machine: make it first (`arena-install up --profile full`)")
    rows = {"jupyterhub": catalogue()["jupyterhub"].model_copy(update={"needs": ()})}
    wanted = wishes(cluster(), list(rows), load_lock().digest, rows=rows)
    install(cluster(), api.kubeconfig, resolved, wanted, ignore, evidence=tmp_path)

    def out() -> None:
        uninstall(api.kubeconfig, resolved, list(rows), ignore, rows=rows)

    yield out
    out()


def may(api: Api, account: str, verb: str, what: str, namespace: str) -> bool:
    question = ("auth", "can-i", verb, what, "-n", namespace, "--as", f"system:serviceaccount:{account}")
    return kubectl(api.kubeconfig, *question, check=False).startswith("yes")


def password(file: Path) -> str:
    return kubectl(file, "get", "secret", "notebook-login", "-o", "jsonpath={.data.password}")


def test_where_there_is_a_hub_users_have_a_way_in_and_it_may_run_their_notebooks_only(
    add: Add, api: Api, everything: Callable[[], set[str]], hub: Callable[[], None]
) -> None:
    before = everything()
    alice = add("alice")
    assert alice.notebook and len(password(alice.file)) > 24, "the user can read it"
    for verb, what in (("create", "pods"), ("get", "secret/notebook-login"), ("create", "persistentvolumeclaims")):
        assert may(api, "jupyterhub:jupyterhub", verb, what, "alice")
        assert not may(api, "jupyterhub:jupyterhub", verb, what, "default")
    for verb, what in (("get", "secrets"), ("delete", "persistentvolumeclaims"), ("create", "rolebindings")):
        assert not may(api, "jupyterhub:jupyterhub", verb, what, "alice")
    way = ("auth", "can-i", "create", "--subresource=portforward", "-n", "jupyterhub")
    assert kubectl(alice.file, *way, "pod/jupyterhub-0", check=False).startswith("yes")
    assert not kubectl(alice.file, *way, "pods", check=False).startswith("yes")
    assert may(api, "alice:notebook", "create", "deployments.apps", "alice")
    assert not may(api, "alice:notebook", "create", "pods", "alice")
    assert may(api, "alice:notebook", "list", "nodes", "default")
    made, word = everything(), password(alice.file)
    assert outcomes(add("alice")) == {"there"} and password(alice.file) == word and everything() == made
    users.remove(api, users.find(api, "alice"))
    assert everything() == before


def test_a_hub_that_goes_takes_all_of_notebooks_along_but_volumes(
    add: Add, api: Api, everything: Callable[[], set[str]], hub: Callable[[], None]
) -> None:
    add("alice")
    meta = {"name": "notebook", "namespace": "alice"}
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})
    labels = {names.COMPONENT_LABEL: "jupyterhub"}
    spec = {"containers": [{"name": "notebook", "image": "a.io/notebook:1"}], "terminationGracePeriodSeconds": 0}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "labels": labels}, "spec": spec})
    assert sum("notebook" in one or "jupyterhub" in one for one in everything()) >= 7
    hub()
    left = {one for one in everything() if "notebook" in one or "jupyterhub" in one}
    assert len(left) == 1 and "PersistentVolumeClaim" in left.pop()
    assert not add("alice").notebook


def test_revoked_an_old_password_and_the_accounts_tokens_are_worthless(
    add: Add, api: Api, tmp_path: Path, hub: Callable[[], None]
) -> None:
    old = add("alice")
    word = password(old.file)
    account = api.get("v1", "ServiceAccount", "notebook", "alice") or {}
    new = add("alice", tmp_path / "new.kubeconfig", revoke=True)
    assert password(new.file) not in ("", word)
    assert (api.get("v1", "ServiceAccount", "notebook", "alice") or {})["metadata"]["uid"] != account["metadata"]["uid"]
