"""Installing, keeping, mending and removing components on a real API server with a real Helm."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from acts import BROKEN, GOOD, outcomes, put
from shelf import Shelf, cluster, config_map, crd, deployment

from apiserver_fixture import ControlPlane
from arena_install.errors import ConfigError, StepError, UnreachableError
from arena_install.stack import Result, StackError, install, lease, ledger, pods, uninstall, wishes
from arena_install.stack.api import Api
from arena_install.stack.lease import held


def take(shelf: Shelf, api: Api, *names: str) -> dict[str, Result]:
    shelf.events.clear()
    rows = shelf.rows
    return uninstall(api.kubeconfig, shelf, names or tuple(rows), shelf.events.append, rows=rows)


def secrets(api: Api, namespace: str) -> dict[str, str]:
    """Helm's revisions in a namespace: number -> status."""
    rows = api.list_metadata("v1", "Secret", namespace, labelSelector="owner=helm")
    return {row["metadata"]["labels"]["version"]: row["metadata"]["labels"]["status"] for row in rows}


def test_a_second_run_changes_nothing_and_calls_no_helm(
    shelf: Shelf, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add("net1", [deployment("net1", "net1", GOOD)], node_labels={"gpu": {"test/gpu": "true"}})
    shelf.add("jobs1", needs=["net1"], crds=[crd("twice.test", "Job")])
    assert outcomes(put(shelf, api)) == {"net1": "changed", "jobs1": "changed"}
    assert shelf.steps() == {"net1": "changed", "jobs1": "changed"}

    namespace = api.get("v1", "Namespace", "net1")
    assert namespace and namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    node = api.get("v1", "Node", "hollow")
    assert node and node["metadata"]["labels"]["test/gpu"] == "true"
    entry = ledger.read(api)["net1"]
    assert (entry.status, entry.version, entry.release) == ("done", "1.0.0", "net1")
    assert [str(ref) for ref in entry.objects] == ["Deployment net1/net1"]
    assert ledger.read(api)["jobs1"].crds == ("jobs.twice.test",)

    monkeypatch.setattr(type(shelf), "program", lambda self, name: self.folder / "there-is-no-helm")
    assert outcomes(put(shelf, api)) == {"net1": "ok", "jobs1": "ok"}
    assert shelf.steps() == {"net1": "ok", "jobs1": "ok"}
    monkeypatch.undo()
    assert outcomes(take(shelf, api)) == {"jobs1": "changed", "net1": "changed"}


def test_new_values_upgrade_the_release_and_only_it(shelf: Shelf, api: Api) -> None:
    shelf.add("one2", values="objects: {}\n")
    shelf.add("two2")
    put(shelf, api)
    changed = {"values": {"one2": {"objects": {"ConfigMap/settings": {"data": {"a": "2"}}}}}}
    assert outcomes(put(shelf, api, **changed)) == {"one2": "changed", "two2": "ok"}
    settings = api.get("v1", "ConfigMap", "settings", "one2")
    assert settings and settings["data"]["a"] == "2"
    assert secrets(api, "one2") == {"1": "superseded", "2": "deployed"}


def test_one_that_fails_is_explained_and_rolled_back_and_the_others_go_on(shelf: Shelf, api: Api) -> None:
    shelf.add("bad4", [deployment("bad4", "worker", BROKEN)], timeout={"base": 3, "per_node": 0})
    shelf.add("after4", needs=["bad4"])
    shelf.add("last4", needs=["after4"])
    shelf.add("other4")
    with pytest.raises(StackError) as caught:
        put(shelf, api)
    error = caught.value
    assert outcomes(error.results) == {"bad4": "failed", "after4": "skipped", "last4": "skipped", "other4": "changed"}
    assert error.exit_code == 5
    assert error.what == "1 of 4 components failed: bad4"
    assert "bad4 is not ready after 3 s" in error.why
    assert "pod bad4/worker-" in error.why
    assert "ImagePullBackOff: no such image docker.io/library/broken:1" in error.why
    assert "after4 was skipped: needs bad4, which is not there" in error.why
    (evidence,) = shelf.evidence.iterdir()
    assert "ImagePullBackOff" in (evidence / "pods.json").read_text()
    assert api.get("apps/v1", "Deployment", "worker", "bad4") is None, "the release was taken back"
    assert ledger.read(api)["bad4"].status == "failed"

    shelf.add("bad4", [deployment("bad4", "worker", GOOD)])
    assert outcomes(put(shelf, api)) == {"bad4": "changed", "after4": "changed", "last4": "changed", "other4": "ok"}


def test_a_failed_upgrade_goes_back_to_what_ran(shelf: Shelf, api: Api) -> None:
    shelf.add("net5", [deployment("net5", "net5", GOOD)])
    put(shelf, api)
    shelf.add("net5", [deployment("net5", "net5", BROKEN)], timeout={"base": 2, "per_node": 0})
    with pytest.raises(StackError, match="1 of 1 components failed: net5") as caught:
        put(shelf, api)
    assert "rolled back to revision 1" in caught.value.why
    found = api.get("apps/v1", "Deployment", "net5", "net5")
    assert found and found["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD


@pytest.mark.parametrize("state", ["pending-install", "uninstalling", "pending-upgrade"])
def test_a_release_left_half_done_is_recovered(shelf: Shelf, api: Api, state: str) -> None:
    name = f"left-in-{state}"
    shelf.add(name)
    put(shelf, api)
    if state == "pending-upgrade":
        put(shelf, api, values={name: {"objects": {"ConfigMap/settings": {"data": {"b": "2"}}}}})
    leave_half_done(api, name, state)
    assert outcomes(put(shelf, api)) == {name: "changed"}
    assert "deployed" in secrets(api, name).values()
    assert any(event.text.startswith(f"release {name} was left in {state}") for event in shelf.events)
    assert list(shelf.evidence.iterdir()), "evidence comes before the recovery"


def leave_half_done(api: Api, name: str, state: str) -> None:
    """Rewrite the newest revision's Secret as Helm leaves it when it is killed."""
    rows = api.list_objects("v1", "Secret", name, labelSelector="owner=helm")
    newest = max(rows, key=lambda row: int(row["metadata"]["labels"]["version"]))
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(newest["data"]["release"]))))
    release["info"]["status"] = state
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    change = {"metadata": {"labels": {"status": state}}, "data": {"release": packed}}
    api.merge("v1", "Secret", newest["metadata"]["name"], change, name)


def test_crds_stay_while_somebody_has_objects_of_them(shelf: Shelf, api: Api) -> None:
    shelf.add("jobs8", crds=[crd("stay.test", "Job"), crd("go.test", "Rule")])
    put(shelf, api)
    theirs = {"apiVersion": "stay.test/v1", "kind": "Job", "metadata": {"name": "mine", "namespace": "default"}}
    api.create(theirs)
    result = take(shelf, api)["jobs8"]
    assert result.text == "removed; kept CRD jobs.stay.test: 1 Job exist (default/mine)"
    assert api.get("stay.test/v1", "Job", "mine", "default")
    assert not api.knows("go.test/v1", "Rule")
    assert api.get("v1", "Namespace", "jobs8") is None

    # Put back and taken out again without them, nothing stays.
    put(shelf, api)
    api.delete("stay.test/v1", "Job", "mine", "default")
    assert take(shelf, api)["jobs8"].text == "removed"
    assert api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "jobs.stay.test") is None


def test_objects_that_a_component_makes_by_itself_keep_no_crd(shelf: Shelf, api: Api) -> None:
    queues = crd("makes.test", "Queue")
    queues["spec"]["scope"] = "Cluster"
    name = queues["metadata"]["name"]
    shelf.add("gang", crds=[queues], makes={name: ["root", "default"]})

    def queue(name: str) -> dict[str, Any]:
        return {"apiVersion": "makes.test/v1", "kind": "Queue", "metadata": {"name": name}}

    put(shelf, api)
    for made in ("root", "default", "mine"):
        api.create(queue(made))
    assert take(shelf, api)["gang"].text == f"removed; kept CRD {name}: 1 Queue exist (mine)"
    put(shelf, api)
    api.delete("makes.test/v1", "Queue", "mine")
    assert take(shelf, api)["gang"].text == "removed"
    assert api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) is None


def test_pods_that_mount_secrets_are_touched_so_that_kubelets_write_them_anew(api: Api) -> None:
    def pod(name: str, *volumes: dict[str, Any]) -> dict[str, Any]:
        spec = {"containers": [{"name": "a", "image": "a.test/a:1"}], "volumes": list(volumes)}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}

    def touched(name: str) -> str:
        notes = (api.get("v1", "Pod", name, "default") or {})["metadata"].get("annotations") or {}
        return str(notes.get(pods.REFRESHED, ""))

    for name, volumes in (("with", [{"name": "c", "secret": {"secretName": "c"}}]), ("without", [])):
        api.create(pod(name, *volumes))
    pods.refresh_secrets(api, "default")
    assert (touched("with"), touched("without")) == ("", ""), "none of them runs yet"
    for name in ("with", "without"):
        path = api.path("v1", "Pod", "default", name) + "/status"
        kind = "application/merge-patch+json"
        api.request("PATCH", path, body={"status": {"phase": "Running"}}, content_type=kind)
    for count in ("1", "2"):
        pods.refresh_secrets(api, "default")
        assert (touched("with"), touched("without")) == (count, "")


def test_what_belongs_to_somebody_else_is_used_and_left_alone(shelf: Shelf, api: Api) -> None:
    theirs = crd("theirs.test", "Thing")
    api.create(theirs)
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}})
    ours = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: theirs}\nhandler: b\n"
    api.create({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "theirs"}, "handler": "a"})
    namespace = {"name": "theirs", "pod_security": "baseline"}
    shelf.add("thing", [config_map("theirs", "settings")], crds=[theirs], ours=ours, namespace=namespace)
    put(shelf, api)
    take(shelf, api)
    found = api.get("node.k8s.io/v1", "RuntimeClass", "theirs")
    assert found and found["handler"] == "a"
    assert api.get("v1", "Namespace", "theirs")
    assert api.knows("theirs.test/v1", "Thing")

    shelf.add("thing", crds=[crd("theirs.test", "Thing", "v2")], namespace=namespace)
    with pytest.raises(StackError, match="1 of 1") as caught:
        put(shelf, api)
    assert "belongs to somebody else and does not serve theirs.test/v2" in caught.value.why


def test_a_namespace_stays_while_somebody_lives_in_it(shelf: Shelf, api: Api) -> None:
    shelf.add("shared10")
    put(shelf, api)
    api.create(config_map("shared10", "mine"))
    assert take(shelf, api)["shared10"].text == "removed; kept namespace shared10: ConfigMap mine is in it"
    assert api.get("v1", "ConfigMap", "mine", "shared10")


def test_after_everything_is_out_nothing_of_ours_is_there(shelf: Shelf, api: Api) -> None:
    ours = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: ours}\nhandler: a\n"
    shelf.add("net11", [deployment("net11", "net11", GOOD)], ours=ours, node_labels={"gpu": {"test/gpu": "true"}})
    put(shelf, api)
    assert outcomes(take(shelf, api)) == {"net11": "changed"}
    assert outcomes(take(shelf, api)) == {"net11": "ok"}
    assert api.get("node.k8s.io/v1", "RuntimeClass", "ours") is None
    node = api.get("v1", "Node", "hollow")
    assert node and "test/gpu" not in node["metadata"]["labels"]
    assert api.get("v1", "Namespace", "net11") is None
    assert api.get("v1", "ConfigMap", ledger.NAME, ledger.NAMESPACE) is None


def test_a_hook_that_does_not_end_keeps_nothing(shelf: Shelf, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = {"helm.sh/hook": "post-delete"}
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": BROKEN}]}
    metadata = {"name": "hook", "namespace": "hooked", "annotations": hook}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    shelf.add("hooked", [job, config_map("hooked", "settings")])
    put(shelf, api)
    monkeypatch.setattr(sys.modules["arena_install.stack.uninstall"], "_HOOKS", 2)
    assert take(shelf, api)["hooked"].text == "removed"
    assert any("did not end" in event.text for event in shelf.events)
    assert api.get("v1", "Namespace", "hooked") is None


def test_taking_out_what_another_needs_is_refused(shelf: Shelf, api: Api) -> None:
    shelf.add("net12")
    shelf.add("jobs12", needs=["net12"])
    put(shelf, api)
    with pytest.raises(ConfigError, match="jobs12 needs net12"):
        take(shelf, api, "net12")
    assert list(take(shelf, api)) == ["jobs12", "net12"]


def test_what_was_left_on_hosts_goes_before_the_ledger_forgets(shelf: Shelf, api: Api) -> None:
    shelf.add("net18", [deployment("net18", "net18", GOOD)])
    put(shelf, api)

    def fail(names: Sequence[str]) -> None:
        assert list(names) == ["net18"]
        assert api.get("apps/v1", "Deployment", "net18", "net18") is None
        raise StepError("a host does not answer")

    with pytest.raises(StepError, match="a host does not answer"):
        uninstall(api.kubeconfig, shelf, ["net18"], shelf.events.append, rows=shelf.rows, on_hosts=fail)
    assert ledger.read(api)["net18"].status == "leaving"
    assert outcomes(put(shelf, api)) == {"net18": "changed"}, "up takes it back"
    assert ledger.read(api)["net18"].status == "done"

    with pytest.raises(StepError):
        uninstall(api.kubeconfig, shelf, ["net18"], shelf.events.append, rows=shelf.rows, on_hosts=fail)
    told: list[str] = []
    uninstall(api.kubeconfig, shelf, ["net18"], shelf.events.append, rows=shelf.rows, on_hosts=told.extend)
    assert told == ["net18"] and "net18" not in ledger.read(api)
    uninstall(api.kubeconfig, shelf, ["net18"], shelf.events.append, rows=shelf.rows, on_hosts=told.extend)
    assert told == ["net18"], "nothing is looked for on hosts when nothing went"


def test_what_somebody_else_installed_is_refused(shelf: Shelf, api: Api) -> None:
    shelf.add("net19")
    put(shelf, api)
    ledger.write(api, "net19", None)
    with pytest.raises(StepError, match="net19 is in this cluster, but arena-install did not install it") as caught:
        take(shelf, api, "net19")
    assert "helm uninstall net19 --namespace net19" in caught.value.fix
    with pytest.raises(ConfigError, match="no component 'nett19'"):
        take(shelf, api, "nett19")


def test_readiness_waits_for_gpus_and_says_so(shelf: Shelf, api: Api) -> None:
    rule = {"resource": "test/gpu", "group": "gpu"}
    shelf.add("gpus13", ready={"allocatable": rule}, timeout={"base": 1, "per_node": 0})
    with pytest.raises(StackError, match="gpus13") as caught:
        put(shelf, api)
    assert "node hollow offers 0 test/gpu" in caught.value.why
    assert any(event.kind == "waiting" for event in shelf.events)
    shelf.add("gpus13", ready={"allocatable": {**rule, "resource": "nvidia.com/gpu"}})
    assert outcomes(put(shelf, api)) == {"gpus13": "changed"}


def test_two_at_once_are_told_apart(shelf: Shelf, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def second() -> None:
        monkeypatch.setattr(lease, "_RENEW", 0.2)
        async with held(api):
            monkeypatch.setattr(lease, "_holder", lambda: "elsewhere/0/1")
            async with held(api):
                pass

    ledger.prepare(api)
    with pytest.raises(StepError, match="another arena-install is changing this cluster"):
        asyncio.run(second())


def test_after_a_kill_nothing_goes_on_and_the_next_run_converges(shelf: Shelf, api: Api, tmp_path: Path) -> None:
    hook = {"helm.sh/hook": "pre-install"}  # Helm waits for a hook: here for ever, as its image is broken
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": BROKEN}]}
    metadata = {"name": "hook", "namespace": "killed", "annotations": hook}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    shelf.add("killed", [job, config_map("killed", "settings")], timeout={"base": 100, "per_node": 0})
    program = shelf.program("helm")
    code = f"""
import sys
from pathlib import Path
from typing import Any
sys.path[:0] = {sys.path!r}
from shelf import Shelf, cluster
from arena_install.stack import install, wishes
shelf = Shelf(Path({str(shelf.folder)!r}))
wanted = wishes(cluster(), ["killed"], shelf.digest, rows=shelf.rows)
install(cluster(), Path({str(api.kubeconfig)!r}), shelf, wanted, lambda event: None)
"""
    environment = {**os.environ, "ARENA_TEST_BINARIES": str(program.parent), "ARENA_INSTALL_STATE": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_for(lambda: secrets(api, "killed") == {"1": "pending-install"})
        helms = children(child.pid)
        assert helms, "Helm is waiting for its hook"
    finally:
        child.kill()
        child.wait()
    wait_for(lambda: not any(alive(pid) for pid in helms))

    assert ledger.read(api)["killed"].status == "intent"
    shelf.add("killed")
    assert outcomes(put(shelf, api)) == {"killed": "changed"}
    assert "deployed" in secrets(api, "killed").values()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(each) for task in tasks.iterdir() for each in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_chart_that_does_not_render_is_helms_word(shelf: Shelf, api: Api) -> None:
    shelf.add("net15", values="extra: [{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: net15}, spec: {}}]\n")
    with pytest.raises(StackError) as caught:
        put(shelf, api)
    assert "Helm could not install net15" in caught.value.why
    assert "spec.containers: Required value" in caught.value.why


def test_an_api_that_does_not_answer_is_exit_3(shelf: Shelf, control_plane: ControlPlane, tmp_path: Path) -> None:
    shelf.add("net16")
    kubeconfig = tmp_path / "kubeconfig"
    server = control_plane.kubeconfig.read_text().replace("https://127.0.0.1:", "https://127.0.0.2:")
    kubeconfig.write_text(server)
    with pytest.raises(UnreachableError) as caught:
        wanted = wishes(cluster(), ["net16"], shelf.digest, rows=shelf.rows)
        install(cluster(), kubeconfig, shelf, wanted, shelf.events.append)
    assert caught.value.exit_code == 3


def test_an_entry_survives_its_round_trip() -> None:
    ref = ledger.Ref("apps/v1", "DaemonSet", "a", "b")
    entry = ledger.Entry(
        "done", "x", "c", "1", "n", "r", (ref,), (), (), ("crd",), ("n",), {"w1": {"a": "b"}}, {ref.key: "s"}, 3, "now"
    )
    assert ledger.Entry.load(entry.dump()) == entry
    assert [str(each) for each in entry.refs] == ["Namespace n", "CustomResourceDefinition crd", "DaemonSet b/a"]
    newer = json.loads(entry.dump())
    newer["later"] = newer["objects"][0]["later"] = 1
    assert ledger.Entry.load(json.dumps(newer)) == entry
