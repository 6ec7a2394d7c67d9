"""The door to the API, against a server on loopback that answers as the API does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from arena_install.errors import ConfigError, StepError, UnreachableError
from arena_install.events import Event, ignore
from arena_install.inventory.cluster import Cluster
from arena_install.verify import run
from arena_install.verify.kube import ApiError, Kube, namespaced

Answers = dict[str, tuple[int, Any]]


def kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "admin-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[Path, Answers, list[tuple[str, str, str]]]]:
    """(kubeconfig, answers by path, requests heard as (method, path, Authorization))."""
    answers: Answers = {}
    heard: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            heard.append((self.command, self.path, self.headers.get("Authorization", "")))
            status, body = answers.get(self.path.split("?")[0], (404, {"message": "not found"}))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield kubeconfig(tmp_path, server.server_port), answers, heard
    server.shutdown()
    server.server_close()


def test_objects_lists_and_absence(api: Any) -> None:
    path, answers, heard = api
    answers["/api/v1/nodes"] = (200, {"items": [{"metadata": {"name": "a"}}]})
    answers["/api/v1/namespaces/n/pods/p"] = (200, {"metadata": {"name": "p"}})
    kube = Kube(path)
    assert kube.items("/api/v1/nodes", labelSelector="a=b")[0]["metadata"]["name"] == "a"
    assert kube.find(namespaced("pods", "n", "p")) == {"metadata": {"name": "p"}}
    assert kube.find(namespaced("pods", "n", "gone")) is None
    kube.delete(namespaced("pods", "n", "gone"))
    assert heard[0] == ("GET", "/api/v1/nodes?labelSelector=a%3Db", "Bearer admin-token")


def test_another_user_brings_only_his_own_token(api: Any) -> None:
    path, answers, heard = api
    answers["/version"] = (200, {"gitVersion": "v1.36.3"})
    user = Kube(path).as_user("user-token")
    assert user.get("/version") == {"gitVersion": "v1.36.3"}
    assert heard[-1][2] == "Bearer user-token"


def test_a_refusal_names_the_status_and_the_message(api: Any) -> None:
    path, answers, _ = api
    answers["/api/v1/namespaces"] = (403, {"message": "user may not"})
    with pytest.raises(ApiError, match="refused POST") as caught:
        Kube(path).create("/api/v1/namespaces", {"kind": "Namespace"})
    assert (caught.value.status, caught.value.exit_code) == (403, 1)
    assert "user may not" in caught.value.why
    answers["/version"] = (401, {"message": "Unauthorized"})
    with pytest.raises(UnreachableError, match="identity"):
        Kube(path).get("/version")


def test_an_api_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        path = kubeconfig(tmp_path, taken.getsockname()[1])
        with pytest.raises(UnreachableError) as caught:
            Kube(path).get("/version")
    assert caught.value.exit_code == 3
    assert "refused" in caught.value.why
    assert caught.value.where.startswith("127.0.0.1:")


@pytest.mark.parametrize("content", [None, "", "just text", "apiVersion: v1\nkind: Config\n", "a: [b"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Kube(path)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def node(name: str, gpus: int = 0, ready: str = "True") -> dict[str, Any]:
    amount = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "metadata": {"name": name, "labels": {}},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped posting"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
            "capacity": amount,
            "allocatable": amount,
            "nodeInfo": {
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://1.7.24",
                "osImage": "Debian",
            },
        },
    }


@pytest.fixture
def quick_api(api: Any) -> tuple[Path, Answers]:
    """A healthy cluster, as far as the quick suite looks."""
    path, answers, _ = api
    pod = {
        "metadata": {"name": "etcd-lab-cp1", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "etcd", "image": "registry.k8s.io/etcd:3.6.8-0"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": []},
    }
    answers |= {
        "/api/v1/nodes": (200, {"items": [node("lab-cp1"), node("lab-w1", 4)]}),
        "/api/v1/pods": (200, {"items": [pod]}),
        "/api/v1/namespaces": (200, {"items": []}),
        "/apis/storage.k8s.io/v1/storageclasses": (200, {"items": []}),
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": (200, {"items": []}),
        "/api/v1/services": (200, {"items": []}),
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": (200, {"items": []}),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles": (200, {"items": []}),
        "/readyz": (200, "[+]ping ok\n[+]etcd ok\nreadyz check passed\n"),
        "/version": (200, {"gitVersion": "v1.36.3"}),
    }
    return path, answers


def test_the_quick_suite_passes_on_a_healthy_cluster(quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    path, _ = quick_api
    events: list[Event] = []
    report = run(cluster, path, None, ("quick",), tmp_path / "out", events.append)
    assert {result.id: (result.status, result.outcome.cause) for result in report.results} == {
        "cluster.api": ("pass", ""),
        "cluster.nodes-ready": ("pass", ""),
        "cluster.system-pods": ("pass", ""),
        "gpu.device-plugin": ("pass", ""),
    }
    assert report.exit_code == 0
    assert report.gpu_line == "GPU: simulated, compute: CPU"
    assert (tmp_path / "out/report.html").exists()
    assert events[0].step == events[-1].step == "verify"


def test_the_quick_suite_names_what_is_wrong(quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    path, answers = quick_api
    answers["/api/v1/nodes"] = (200, {"items": [node("lab-cp1", ready="Unknown")]})
    answers["/readyz"] = (500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")
    report = run(cluster, path, None, ("quick",), tmp_path / "out", ignore)
    by_id = {result.id: result for result in report.results}
    assert by_id["cluster.api"].outcome.cause == "[-]etcd failed: reason withheld"
    assert by_id["cluster.nodes-ready"].status == "skip"
    assert report.exit_code == 1


def test_an_api_that_does_not_answer_is_a_finding(cluster: Cluster, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        path = kubeconfig(tmp_path, free.getsockname()[1])
    report = run(cluster, path, None, ("quick",), tmp_path / "out", ignore)
    assert {result.id: (result.status, result.blocked_by) for result in report.results} == {
        "cluster.api": ("error", ""),
        "cluster.nodes-ready": ("skip", "cluster.api"),
        "cluster.system-pods": ("skip", "cluster.api"),
        "gpu.device-plugin": ("skip", "cluster.nodes-ready"),
    }
    assert report.exit_code == 3 and "does not answer" in report.roots[0].outcome.observed


def test_an_api_whose_store_does_not_answer_is_a_finding(quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    path, answers = quick_api
    answers["/api/v1/nodes"] = (500, {"message": "context deadline exceeded"})
    answers["/readyz"] = (500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")
    report = run(cluster, path, None, ("quick",), tmp_path / "out", ignore)
    assert [result.id for result in report.roots] == ["cluster.api"] and report.exit_code == 1


def test_single_checks_bring_what_they_need(quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    report = run(cluster, quick_api[0], None, (), tmp_path / "out", ignore, only=("cluster.nodes-ready",))
    assert [result.id for result in report.results] == ["cluster.api", "cluster.nodes-ready"]
    assert report.exit_code == 0
    with pytest.raises(ConfigError, match=r"no check 'cluster\.nodes'"):
        run(cluster, quick_api[0], None, (), tmp_path / "out", ignore, only=("cluster.nodes",))


def test_hosts_that_have_not_joined_are_named(quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    path, answers = quick_api
    answers["/api/v1/nodes"] = (200, {"items": [node("lab-cp1", ready="Unknown")]})
    report = run(cluster, path, None, ("quick",), tmp_path / "out", ignore)
    outcome = next(result.outcome for result in report.results if result.id == "cluster.nodes-ready")
    assert outcome.cause == "lab-cp1 is not Ready: kubelet stopped posting\nlab-w1 has not joined"


def test_a_read_only_run_sends_nothing_but_gets(api: Any, quick_api: Any, cluster: Cluster, tmp_path: Path) -> None:
    path, _ = quick_api
    heard = api[2]
    report = run(cluster, path, None, ("quick", "cluster", "gpu", "training"), tmp_path / "out", ignore, read_only=True)
    assert {method for method, *_ in heard} == {"GET"}
    said = {result.id: result for result in report.results}
    assert said["cluster.api"].status == "pass"
    left = [said[id] for id in ("cluster.dns", "gpu.one-gpu", "training.job", "training.learns")]
    assert {(result.status, result.required) for result in left} == {("skip", False)}
    assert all("read-only" in result.outcome.cause for result in left)
    assert report.remarks[0].startswith("read-only: ")


def test_a_read_only_door_refuses_before_it_sends(api: Any) -> None:
    path, _, heard = api
    kube = Kube(path, read_only=True)
    with pytest.raises(StepError, match=r"POST .* was not sent"):
        kube.create("/api/v1/namespaces", {"kind": "Namespace"})
    with pytest.raises(StepError, match="DELETE"):
        kube.delete("/api/v1/namespaces/n")
    assert heard == []


def test_ctrl_c_still_gives_a_report(
    quick_api: Any, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arena_install.verify.runner import Runner

    real: Callable[[Runner], None] = Runner.run

    def interrupted(self: Runner) -> None:
        real(self)
        self.results.pop("gpu.device-plugin")
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "run", interrupted)
    report = run(cluster, quick_api[0], None, ("quick",), tmp_path / "out", ignore)
    assert report.exit_code == 130
    assert report.results[-1].outcome.cause == "the run was interrupted"
    assert (tmp_path / "out/ctrf.json").exists()


def test_an_unknown_suite_is_refused_before_anything_is_asked(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no suite"):
        run(cluster, tmp_path / "none", None, ("everything",), tmp_path, ignore)
