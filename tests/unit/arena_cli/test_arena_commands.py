"""The command by its entry point against an API server on loopback: what it asks, what it prints, what it leaves."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakeapi import INSTALLED, FakeApi
from world import EVENTS, JOBS, NODES, PODS, SERVICE

Arena = Callable[..., Any]


@pytest.fixture
def world(api: FakeApi) -> FakeApi:
    api.add(*copy.deepcopy([*JOBS[:-1], *PODS, *NODES, SERVICE, *EVENTS]))
    return api


def test_list_asks_once_for_each_kind(arena: Arena, world: FakeApi) -> None:
    done = arena("list")
    assert done.code == 0 and done.err == ""
    assert [line.split()[0] for line in done.out.splitlines()] == [
        "NAME",
        "vj-wait",
        "pt-run",
        "elastic",
        "aw",
        "mpi-kubectl",
        "tf-old",
    ]
    assert len(world.requests) == len(set(world.requests)) == 10
    assert all("resourceVersion=0" in line for line in world.requests)


def test_list_of_a_type_asks_for_that_alone(arena: Arena, world: FakeApi) -> None:
    assert [line.split()[0] for line in arena("list", "-T", "Pytorch").out.splitlines()[1:]] == ["pt-run"]
    assert len(world.requests) == 4


def test_list_of_all_namespaces(arena: Arena, world: FakeApi) -> None:
    out = arena("ls", "-A").out
    assert out.startswith("NAMESPACE") and "theirs" in out
    assert {row["name"] for row in json.loads(arena("list", "-A", "-o", "json").out)} >= {"theirs", "pt-run"}


def test_list_tells_tensorboards_to_programs(arena: Arena, world: FakeApi) -> None:
    path = "/api/v1/namespaces/default/services/pt-run-tensorboard"
    world.objects[path]["metadata"]["labels"] = {"release": "pt-run", "role": "tensorboard"}
    rows = {row["name"]: row["tensorboard"] for row in json.loads(arena("list", "-o", "json").out)}
    assert rows["pt-run"] == "http://10.0.0.11:31234" and rows["tf-old"] == ""


def test_list_where_nothing_is_installed(arena: Arena, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeApi({"v1": INSTALLED["v1"]}) as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(alone / "k")))
        done = arena("list")
    assert done.code == 0 and done.out.splitlines()[0].startswith("NAME") and len(done.out.splitlines()) == 1


def test_get(arena: Arena, world: FakeApi) -> None:
    done = arena("get", "pt-run", "-e")
    assert done.code == 0
    assert "http://10.0.0.11:31234" in done.out and "Successfully assigned" in done.out and "Reason" not in done.out
    row = json.loads(arena("get", "pt-run", "-o", "json").out)
    assert row["chiefName"] == "pt-run-master-0" and row["tensorboard"] == "http://10.0.0.11:31234"
    assert arena("get", "pt-run", "-o", "name").out == "pytorchjob.kubeflow.org/pt-run\n"


def test_get_says_why_a_job_failed_by_its_log(arena: Arena, world: FakeApi) -> None:
    world.logs["team/theirs-master-0/main"] = "".join(f"line {n}\n" for n in range(50)) + "KeyError: 0\n"
    out = arena("get", "theirs", "-n", "team").out
    assert "Reason:      theirs-master-0, container main ended with exit code 1" in out
    assert "line 49\n  KeyError: 0" in out and "line 3\n" not in out


def test_get_of_nobody_suggests(arena: Arena, world: FakeApi) -> None:
    done = arena("get", "pt-rum")
    assert done.code == 2 and "please use 'arena list'" in done.err and "did you mean `pt-run`?" in done.err
    done = arena("get", "pt-run", "--type", "tfjob")
    assert done.code == 2 and "there is no tfjob pt-run" in done.err


def test_two_jobs_of_one_name_want_a_type(arena: Arena, world: FakeApi) -> None:
    world.add({**copy.deepcopy(JOBS[0]), "kind": "TFJob", "spec": {}})
    done = arena("get", "pt-run")
    assert done.code == 2 and "there are 2 jobs called pt-run" in done.err and "add --type" in done.err
    assert arena("get", "pt-run", "-T", "py").code == 0


def test_logs(arena: Arena, world: FakeApi) -> None:
    world.logs["default/pt-run-master-0/"] = "epoch 1\nepoch 2\n"
    world.logs["default/pt-run-worker-0/"] = "I follow\n"
    assert arena("logs", "pt-run").out == "epoch 1\nepoch 2\n"
    assert arena("logs", "pt-run", "-t", "1").out == "epoch 2\n"
    assert arena("logs", "pt-run", "-i", "pt-run-worker-0").out == "I follow\n"
    assert arena("logs", "pt-run", "-f", "--since", "5m", "--timestamps").out == "epoch 1\nepoch 2\n"
    assert "sinceSeconds=300" in world.requests[-1] and "follow=true" in world.requests[-1]
    done = arena("logs", "pt-run", "-i", "pt-run-worker-1")
    assert done.code == 2 and "did you mean `pt-run-worker-0`?" in done.err


def test_logs_of_a_job_that_waits_say_why(arena: Arena, world: FakeApi) -> None:
    done = arena("logs", "vj-wait")
    assert done.code == 1 and "has no pods" in done.err
    done = arena("logs", "elastic", "-i", "elastic-worker-1")
    assert done.code == 1 and "instance elastic-worker-1 is not running" in done.err and "why: " in done.err


def test_delete_several(arena: Arena, world: FakeApi) -> None:
    done = arena("delete", "pt-run", "no-such", "tf-old")
    assert done.code == 2 and "no-such" in done.err
    assert done.out.splitlines() == [
        "The training job pt-run has been deleted successfully",
        "The training job tf-old has been deleted successfully",
    ]
    assert "pt-run" not in world.names("PyTorchJob") and "tf-old" not in world.names("TFJob")


def test_delete_what_upstream_made(arena: Arena, world: FakeApi) -> None:
    """Side objects without an owner, as before its v0.15.5, go by the ConfigMap's list."""
    world.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tf-old-tfjob", "namespace": "default"},
            "data": {
                "app": "tfjob.kubeflow.org/tf-old\nservice/tf-old-tensorboard\ndeployment.apps/tf-old-tensorboard\n",
                "values": "",
                "tfjob": "0.39.1",
            },
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tf-old-tensorboard", "namespace": "default"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "tf-old-tensorboard", "namespace": "default"},
        },
    )
    assert arena("del", "tf-old").code == 0
    assert not [path for path in world.objects if "tf-old" in path]


def test_delete_what_only_the_configmap_remembers(arena: Arena, api: FakeApi) -> None:
    api.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "gone-pytorchjob", "namespace": "default"},
            "data": {"app": "pytorchjob.kubeflow.org/gone"},
        }
    )
    assert arena("delete", "gone").code == 0 and "gone-pytorchjob" not in api.names("ConfigMap")


def test_prune_leaves_what_waits_or_runs(arena: Arena, world: FakeApi) -> None:
    done = arena("prune", "--since", "1h", "--dry-run")
    assert "tf-old (tfjob, SUCCEEDED" in done.out and len(done.out.splitlines()) == 1 and world.changes() == []
    assert arena("prune", "-s", "1h").out == "The training job tf-old has been deleted successfully\n"
    assert "pt-run" in world.names("PyTorchJob") and world.names("TFJob") == []
    assert arena("prune", "-s", "1h").out == "No job need to be deleted\n"
    assert arena("prune").code == 2


def test_top(arena: Arena, world: FakeApi) -> None:
    assert "7/16 (43.8%)" in arena("top", "node").out
    assert "Allocated/Total" not in arena("top", "node", "gpu-1").out
    assert "did you mean `gpu-1`?" in arena("top", "node", "gpu-11").err
    assert [row["name"] for row in json.loads(arena("top", "node", "-o", "json").out)["normalNodes"]] == ["cp-1"]
    assert "Total Allocated/Requested GPUs of Training Jobs: 6/6" in arena("top", "job").out


def test_top_node_where_others_pods_are_hidden(arena: Arena, world: FakeApi) -> None:
    world.refuse = lambda method, path, _: (403, "pods is forbidden") if path == "/api/v1/pods" else None
    done = arena("top", "node")
    assert done.code == 0 and "only pods of namespace default are counted" in done.err


def test_top_job_asks_prometheus_once(arena: Arena, world: FakeApi) -> None:
    world.add(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "prom", "namespace": "monitoring", "labels": {"app.kubernetes.io/name": "prometheus"}},
        }
    )

    def metric(name: str, value: str, gpu: str = "0") -> dict[str, Any]:
        labels = {"__name__": name, "pod": "pt-run-master-0", "namespace": "default", "gpu": gpu, "Hostname": "gpu-1"}
        return {"metric": labels, "value": [0, value]}

    answer = {
        "status": "success",
        "data": {
            "result": [
                metric("DCGM_FI_DEV_GPU_UTIL", "98"),
                metric("DCGM_FI_DEV_FB_USED", "1000"),
                metric("DCGM_FI_DEV_FB_FREE", "3000"),
            ]
        },
    }
    world.objects["/api/v1/namespaces/monitoring/services/prom:9090/proxy/api/v1/query"] = {
        **answer,
        "kind": "-",
        "metadata": {"name": "-"},
    }
    out = arena("top", "job", "pt-run").out
    assert "98.0%" in out and "1000.0/4000.0(MiB)" in out
    assert sum("/proxy/" in line for line in world.requests) == 1


def test_who_may_not_look_for_prometheus_asks_where_ours_is(arena: Arena, world: FakeApi) -> None:
    world.refuse = lambda method, path, _: (403, "services is forbidden") if path == "/api/v1/services" else None
    ours = "/api/v1/namespaces/prometheus/services/prometheus:9090/proxy/api/v1/query"
    labels = {"__name__": "nvidia_gpu_duty_cycle", "pod_name": "pt-run-master-0", "namespace_name": "default"}
    result = [{"metric": {**labels, "minor_number": "0"}, "value": [0, "61"]}]
    answer = {"status": "success", "data": {"result": result}, "kind": "-", "metadata": {"name": "-"}}
    world.objects[ours] = answer
    assert "61.0%" in arena("top", "job", "pt-run").out
    world.refuse = lambda method, path, _: (403, "services is forbidden") if "services" in path else None
    done = arena("top", "job", "pt-run")
    assert done.code == 1 and "you may not ask Prometheus" in done.err and "arena-install user add" in done.err


def test_no_prometheus(arena: Arena, world: FakeApi) -> None:
    done = arena("get", "pt-run", "-g")
    assert done.code == 1 and "there is no Prometheus" in done.err and "prometheus_address=" in done.err


def test_submit_and_what_it_leaves(arena: Arena, api: FakeApi, helm: Path) -> None:
    before = dict(api.objects)
    done = arena("submit", "tf", "--name", "board", "--image", "i", "--tensorboard", "--workers", "2", "python t.py")
    assert done.code == 0, done.err
    assert "The Job board has been submitted successfully" in done.err
    assert "You can run `arena get board --type tfjob -n default` to check the job status" in done.err
    assert "share one volume" in done.err  # two workers write their logs
    note = api.objects["/api/v1/namespaces/default/configmaps/board-tfjob"]
    assert note["metadata"]["labels"] == {"createdBy": "arena"}
    assert note["data"]["app"].splitlines() == [
        "tfjob.kubeflow.org/board",
        "service/board-tensorboard",
        "deployment.apps/board-tensorboard",
        "persistentvolumeclaim/board-logs",
    ]
    assert set(note["data"]) == {"values", "app", "tfjob"}
    job = api.objects["/apis/kubeflow.org/v1/namespaces/default/tfjobs/board"]
    made = [obj for path, obj in api.objects.items() if path not in before and obj["kind"] != "TFJob"]
    assert all(obj["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"] for obj in made)
    assert arena("submit", "tf", "--name", "board", "--image", "i", "c").code == 2
    assert arena("delete", "board").code == 0 and api.objects == before


def test_elastic_jobs_scale_within_their_bounds(arena: Arena, world: FakeApi) -> None:
    done = arena("scaleout", "etjob", "--name", "elastic", "--count", "3")
    assert done.code == 2 and "would have 5 workers" in done.err and world.changes() == []
    done = arena("scaleout", "et", "--name", "elastic", "-t", "1ms")
    assert done.code == 5 and "is to have 3 workers" in done.err
    path = "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/elastic"
    assert world.objects[path]["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == 3
    world.objects["/api/v1/namespaces/default/pods/elastic-worker-1"]["status"]["phase"] = "Running"
    assert arena("scalein", "et", "--name", "elastic").out == "The job elastic has 2 workers\n"


def test_a_cron_by_who_is_no_administrator(arena: Arena, api: FakeApi, helm: Path) -> None:
    """For them the API looks up the Role of a binding, and one that is only tried is not there."""

    def refuse(method: str, path: str, _: Any) -> tuple[int, str] | None:
        absent = method == "POST" and path.endswith("/rolebindings") and not api.names("Role")
        return (404, "roles.rbac.authorization.k8s.io \"nightly-cron\" not found") if absent else None

    api.refuse = refuse
    assert arena("cron", "tf", "--name", "nightly", "--image", "i", "--schedule", "@daily", "c").code == 0
    assert api.names("RoleBinding") == ["nightly-cron"]


def test_cron(arena: Arena, api: FakeApi, helm: Path) -> None:
    before = dict(api.objects)
    made = arena("cron", "tf", "--name", "nightly", "--image", "i", "--schedule", "@daily", "c")
    assert made.code == 0 and "arena cron get nightly" in made.err
    assert {"roles", "rolebindings", "cronjobs"} <= {
        line.split("?")[0].rpartition("/")[2] for line in api.requests if "dryRun" in line
    }
    assert api.names("RoleBinding") == ["nightly-cron"]
    assert "nightly  TFJOB  @daily" in arena("cron", "list").out
    assert arena("cron", "suspend", "nightly").out == "cron nightly suspend success\n"
    assert json.loads(arena("cron", "list", "-o", "json").out)[0]["suspend"] is True
    assert arena("cron", "resume", "nightly", "none").code == 2
    assert "Schedule:           @daily" in arena("cron", "get", "nightly").out
    assert "did you mean `nightly`?" in arena("cron", "get", "nightli").err
    assert arena("cron", "delete", "nightly").code == 0 and api.objects == before


def test_whoami(arena: Arena, api: FakeApi) -> None:
    told = json.loads(arena("whoami").out)
    assert told == {"Name": "alice", "Id": "6384e2b2184bcbf58eccf10ca7a6563c", "IsAdminUser": False}
    api.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "arena-config", "namespace": "arena-system"},
            "data": {"adminUsers": "bob, alice"},
        }
    )
    assert json.loads(arena("whoami").out)["IsAdminUser"] is True


def test_namespaces_in_their_order(arena: Arena, world: FakeApi, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / ".arena").mkdir()
    (alone / ".arena/config").write_text("# ours\nnamespace = team\n")
    assert "theirs" in arena("list").out
    assert "pt-run" in arena("-n", "default", "list").out and "pt-run" in arena("list", "-n", "default").out
    (alone / "other").write_text("namespace\n")
    monkeypatch.setenv("ARENA_CONFIG", str(alone / "other"))
    done = arena("list")
    assert done.code == 2 and f"{alone}/other:1" in done.err


def test_logviewer(arena: Arena, world: FakeApi, alone: Path) -> None:
    assert arena("logviewer", "pt-run").out == "No LogViewer Installed\n"
    (alone / ".arena").mkdir()
    (alone / ".arena/config").write_text("logviewer_address=https://logs.example\n")
    assert "https://logs.example/default/pt-run-master-0" in arena("logviewer", "pt-run").out


#: The Service of the component `dashboard` -> the address that people go to.
PAGES: list[tuple[dict[str, Any], str]] = [
    ({"spec": {"type": "NodePort", "ports": [{"port": 443, "nodePort": 31000}]}}, "https://10.0.0.1:31000"),
    ({"spec": {"type": "ClusterIP", "ports": [{"port": 443}]}}, "https://localhost:8443"),
    ({"spec": {"ports": [{"port": 443, "nodePort": 31000}], "externalIPs": ["192.0.2.7"]}}, "https://192.0.2.7"),
    (
        {
            "spec": {"ports": [{"port": 443, "nodePort": 31000}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "2001:db8::1"}]}},
        },
        "https://[2001:db8::1]",
    ),
]


def pages(**service: Any) -> dict[str, Any]:
    meta = {"name": "dashboard", "namespace": "dashboard", "annotations": service.pop("annotations", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, **service}


@pytest.mark.parametrize(("service", "base"), PAGES, ids=[base for _, base in PAGES])
def test_logviewer_leads_to_the_web_pages(
    arena: Arena, world: FakeApi, service: dict[str, Any], base: str
) -> None:
    world.add(pages(**copy.deepcopy(service)))
    out = arena("logviewer", "pt-run").out
    assert f"  {base}/jobs/default/pt-run/pt-run-worker-0?type=pytorchjob\n" in out
    world.add(pages(**copy.deepcopy(service), annotations={"arena-install.local/address": "https://gpus.example/"}))
    assert "https://gpus.example/jobs/default/pt-run/" in arena("logviewer", "pt-run").out


def test_dashboard_prints_the_address_and_a_token(arena: Arena, world: FakeApi) -> None:
    done = arena("dashboard")
    assert done.code == 2 and "no web pages" in done.err
    world.add(pages(spec={"ports": [{"port": 443}]}))
    done = arena("dashboard")
    assert done.code == 1 and "arena-install user add" in done.err and "create token viewer" in done.err
    asked: list[Any] = []

    def answer(method: str, path: str, body: Any) -> tuple[int, str] | None:
        if path.endswith("/token"):
            asked.append(body["spec"])
        return None

    world.refuse = answer
    world.tokens["/api/v1/namespaces/default/serviceaccounts/dashboard/token"] = "a.token"
    done = arena("dashboard", "--duration", "1h")
    assert done.out == "a.token\n" and "https://localhost:8443/" in done.err and "port-forward" in done.err
    assert asked == [{"expirationSeconds": 3600}]
    for duration in ("5m", "13h", "soon"):
        assert arena("dashboard", "--duration", duration).code == 2


def test_version_and_completion(arena: Arena) -> None:
    assert arena("version", "--short").out.startswith("arena: v")
    assert "ChartsVersion" in arena("version", "-v").out
    for shell in ("zsh", "fish"):
        assert "_ARENA_COMPLETE" in arena("completion", shell).out


def test_the_api_is_gone(arena: Arena, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeApi() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(alone / "k")))
    done = arena("list")
    assert done.code == 3 and "does not answer" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(("status", "code", "says"), [(401, 3, "does not know you"), (403, 1, "you may not do this")])
def test_who_may_not(arena: Arena, world: FakeApi, status: int, code: int, says: str) -> None:
    world.refuse = lambda *_: (status, "forbidden: alice can't list pods")
    done = arena("list")
    assert done.code == code and says in done.err and "alice can't list pods" in done.err


def test_kinds_that_one_has_no_rights_to_are_passed_over(arena: Arena, world: FakeApi) -> None:
    world.refuse = lambda _, path, __: (
        (403, "forbidden") if "ray.io" in path or "sparkoperator" in path or "/mpijobs" in path else None
    )
    out = arena("list").out
    assert "pt-run" in out and "mpi-kubectl" not in out
    assert arena("get", "pt-run").code == 0 and arena("delete", "pt-run").code == 0


def test_the_shell_completes(world: FakeApi, alone: Path) -> None:
    def complete(line: str) -> set[str]:
        words = {
            **os.environ,
            "_ARENA_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        code = "import sys; sys.argv = ['arena']; from arena_cli.main import run; run()"
        path = str(Path(__file__).resolve().parents[3] / "installer")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**words, "PYTHONPATH": path}
        )
        assert done.stderr == ""
        return {row.partition(",")[2] for row in done.stdout.splitlines() if row}

    assert complete("arena su") == {"submit"}
    assert complete("arena submit py") == {"pytorchjob"}
    assert "--workers" in complete("arena submit pytorchjob --queue --work")
    assert complete("arena nonsense --x") == set()


def test_by_itself_as_a_process(world: FakeApi, alone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arena_cli", "list"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KUBECONFIG": str(alone / "kubeconfig")},
    )
    assert done.returncode == 0 and "pt-run" in done.stdout and done.stderr == ""


def test_list_imports_nothing_heavy() -> None:
    code = (
        "import sys\nimport arena_cli.main, arena_cli.verbs.list, arena_cli.find, arena_cli.session\n"
        "import arena_cli.look.formats\n"
        "heavy = {'kubernetes', 'pyhelm3', 'pydantic', 'rich', 'typer', 'urllib3', 'asyncio', 'websocket',"
        " 'arena_cli.jobs.catalogue', 'arena_cli.charts'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "installer")},
    )
    assert done.stdout.strip() == "[]"
