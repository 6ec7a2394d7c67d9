"""The web pages on a real API server, by users that `user add` made: what RBAC lets each see, and when a login ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from apiserver_fixture import ControlPlane, artifacts_here, binary
from arena_cli.kube import config
from arena_cli.kube.client import ApiError, Client, at
from arena_cli.kube.config import Access
from arena_dashboard.server import Server, Site
from arena_install import users
from arena_install.stack import ledger
from arena_install.stack.api import Api
from arena_install.users import Added, Wish

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("pytorchjobs.kubeflow.org",)

Script = Callable[[TestClient[Any, Any]], Awaitable[None]]


@pytest.fixture
def helm(control_plane: ControlPlane) -> Callable[..., str]:
    program = binary("helm")
    if program is None:
        pytest.skip("no helm on this machine: make it first (`arena-install up`)")

    def call(*words: str) -> str:
        command = [str(program), "--kubeconfig", str(control_plane.kubeconfig), "-n", "dashboard", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture
def installed(api: Api, helm: Callable[..., str]) -> Iterator[None]:
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dashboard"}})
    helm("install", "dashboard", str(ROOT / "charts/dashboard"), "--set", "tls.addresses={10.0.0.1}")
    yield
    helm("uninstall", "dashboard", "--wait")
    left = [
        row["metadata"]["name"]
        for kind in ("Secret", "ConfigMap", "Service")
        for row in api.list_objects("v1", kind, "dashboard")
    ]
    left += [
        row["metadata"]["name"]
        for kind in ("ClusterRole", "ClusterRoleBinding")
        for row in api.list_objects("rbac.authorization.k8s.io/v1", kind)
    ]
    assert [name for name in left if "dashboard" in name] == []
    api.delete("v1", "Namespace", "dashboard")
    api.wait_gone("v1", "Namespace", "dashboard")


@pytest.fixture
def types(api: Api) -> Iterator[None]:
    """The CRD of PyTorchJobs."""
    resolved = artifacts_here(["training-operator-crds"])
    if resolved is None:
        pytest.skip("no CRDs of the training operator on this machine: make them first (`arena-install up`)")
    rows = [row for row in yaml.safe_load_all(resolved.file("training-operator-crds").read_text()) if row]
    made = [row for row in rows if row["metadata"]["name"] in TYPES]
    for row in made:
        api.apply(row, force=True)
    asyncio.run(_until(lambda: Api(api.kubeconfig).knows("kubeflow.org/v1", "PyTorchJob")))
    yield
    for row in made:
        api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", row["metadata"]["name"])
    api._resources.clear()


async def _until(true: Callable[[], Any], seconds: float = 20) -> None:
    for _ in range(int(seconds / 0.2)):
        if true():
            return
        await asyncio.sleep(0.2)
    raise AssertionError("it did not come true in time")


@pytest.fixture
def alice(api: Api, control_plane: ControlPlane, tmp_path: Path, installed: None, types: None) -> Iterator[Added]:
    """With a job of her own, beside bob with his."""
    to = users.door(control_plane.kubeconfig, "test")
    made = {name: users.add(api, Wish(name), to, tmp_path / f"{name}.kubeconfig") for name in ("alice", "bob")}
    for name in made:
        meta = {"name": f"{name}s-job", "namespace": name}
        labels = {"training.kubeflow.org/job-name": f"{name}s-job", "training.kubeflow.org/job-role": "master"}
        container = {"name": "pytorch", "image": "x"}
        spec = {"pytorchReplicaSpecs": {"Master": {"template": {"spec": {"containers": [container]}}}}}
        api.create({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": meta, "spec": spec})
        meta = {"name": f"{name}s-job-master-0", "namespace": name, "labels": labels}
        spec = {"containers": [container], "automountServiceAccountToken": False}
        asyncio.run(_until(lambda name=name: api.get("v1", "ServiceAccount", "default", name)))  # type: ignore[misc]
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    yield made["alice"]
    for user in users.users(api):
        users.remove(api, user)


def arena(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "HOME": "/nowhere",
        "PYTHONPATH": str(ROOT / "installer"),
    }
    command = [sys.executable, "-m", "arena_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def as_token(kubeconfig: Path, token: str) -> Access:
    found = config.load(str(kubeconfig))
    return Access(found.server, ca=found.ca, token=token)


def serve(control_plane: ControlPlane, api: Api, script: Script) -> None:
    """The server, with the rights that its chart gives it."""
    path = api.path("v1", "ServiceAccount", "dashboard", "dashboard") + "/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    own = as_token(control_plane.kubeconfig, str(api.request("POST", path, body=body)["status"]["token"]))

    async def run() -> None:
        server = TestServer(Server(lambda: own, Site("test", tls=False)).app())
        async with TestClient(server, cookie_jar=CookieJar(unsafe=True)) as client:
            await script(client)

    asyncio.run(run())


async def page(client: TestClient[Any, Any], path: str) -> tuple[int, str]:
    answer = await client.get(path, headers={"Accept": "text/html"})
    return answer.status, await answer.text()


async def enter(client: TestClient[Any, Any], token: str) -> int:
    return (await client.post("/login", data={"token": token}, allow_redirects=False)).status


def test_a_user_sees_her_own_jobs_and_what_is_installed(control_plane: ControlPlane, api: Api, alice: Added) -> None:
    done = arena(alice.file, "dashboard")
    assert done.returncode == 0, done.stderr
    assert "https://" in done.stderr and "good for 8h" in done.stderr
    token = done.stdout.strip()
    ledger.prepare(api)
    entry = ledger.Entry("done", "x", "dashboard", "1.0.0", "dashboard", "dashboard",
                         objects=(ledger.Ref("apps/v1", "Deployment", "dashboard", "dashboard"),))  # fmt: skip
    ledger.write(api, "dashboard", entry)

    async def script(client: TestClient[Any, Any]) -> None:
        assert (await page(client, "/"))[0] == 401
        assert await enter(client, token) == 303
        status, text = await page(client, "/")
        assert status == 200 and "alices-job" in text and "bobs-job" not in text
        assert "hollow" in text and ">dashboard <" in text and ">ready<" in text
        status, text = await page(client, "/jobs/alice/alices-job")
        assert status == 200 and "alices-job-master-0" in text
        for path in ("/jobs/bob/bobs-job", "/logs/bob/bobs-job-master-0", "/logs/dashboard/x"):
            status, text = await page(client, path)
            assert status == 403 and "bobs-job-master-0</a>" not in text

    serve(control_plane, api, script)


def test_its_token_only_looks(control_plane: ControlPlane, alice: Added) -> None:
    client = Client(
        as_token(control_plane.kubeconfig, arena(alice.file, "dashboard", "--duration", "10m").stdout.strip())
    )
    assert client.items(at("v1", "pods", "alice"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    acts: list[Callable[[], object]] = [
        lambda: client.create(at("v1", "secrets", "alice"), secret),
        lambda: client.get(at("v1", "secrets", "alice", "x")),
        lambda: client.delete(at("v1", "pods", "alice", "alices-job-master-0")),
        lambda: client.delete(at("kubeflow.org/v1", "pytorchjobs", "alice", "alices-job")),
        lambda: client.create(at("v1", "pods", "alice", "alices-job-master-0", "exec"), {}),
        lambda: client.get(at("v1", "pods", "bob")),
        lambda: client.get(at("v1", "serviceaccounts", "alice")),
    ]
    for act in acts:
        with pytest.raises(ApiError) as caught:
            act()
        assert caught.value.status == 403


def test_a_login_ends_with_the_users_rights(
    control_plane: ControlPlane, api: Api, alice: Added, tmp_path: Path
) -> None:
    to = users.door(control_plane.kubeconfig, "test")
    token = arena(alice.file, "dashboard").stdout.strip()

    async def script(client: TestClient[Any, Any]) -> None:
        assert await enter(client, token) == 303 and (await page(client, "/"))[0] == 200
        await asyncio.to_thread(users.add, api, Wish("alice", revoke=True), to, tmp_path / "new.kubeconfig")

        async def ended() -> bool:
            return (await page(client, "/"))[0] == 401

        for _ in range(100):  # the API server keeps what it knew of a token for ten seconds
            if await ended():
                break
            await asyncio.sleep(0.3)
        assert await ended()
        assert await enter(client, token) == 401
        assert await enter(client, arena(tmp_path / "new.kubeconfig", "dashboard").stdout.strip()) == 303

    serve(control_plane, api, script)
    assert "Forbidden" in arena(alice.file, "dashboard").stderr or arena(alice.file, "dashboard").returncode == 2


def test_the_administrators_account_sees_all(control_plane: ControlPlane, api: Api, alice: Added) -> None:
    kubectl = str(Path(sys.executable).parent / "kubectl")
    command = [kubectl, "--kubeconfig", str(control_plane.kubeconfig), "-n", "dashboard", "create", "token", "viewer"]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    async def script(client: TestClient[Any, Any]) -> None:
        assert await enter(client, token) == 303
        status, text = await page(client, "/")
        assert status == 200 and "alices-job" in text and "bobs-job" in text
        assert (await page(client, "/jobs/bob/bobs-job"))[0] == 200

    serve(control_plane, api, script)


def test_logviewer_leads_to_the_page(alice: Added) -> None:
    done = arena(alice.file, "logviewer", "alices-job")
    assert "/jobs/alice/alices-job/alices-job-master-0?type=pytorchjob" in done.stdout


def test_a_certificate_is_kept_until_it_is_for_other_names(api: Api, helm: Callable[..., str], installed: None) -> None:
    def now() -> dict[str, str]:
        found = api.get("v1", "Secret", "dashboard-tls", "dashboard")
        assert found is not None
        return dict(found["data"])

    chart, first = str(ROOT / "charts/dashboard"), now()
    helm("upgrade", "dashboard", chart, "--set", "tls.addresses={10.0.0.1}")
    assert now() == first
    helm("upgrade", "dashboard", chart, "--set", "tls.addresses={10.0.0.2}")
    assert now()["tls.crt"] != first["tls.crt"]
    second = now()
    note = {"metadata": {"annotations": {"arena-install.local/until": "1"}}}
    api.merge("v1", "Secret", "dashboard-tls", note, "dashboard")
    helm("upgrade", "dashboard", chart, "--set", "tls.addresses={10.0.0.2}")
    assert now()["tls.crt"] != second["tls.crt"]
    rows = json.loads(helm("list", "-o", "json"))
    assert rows[0]["status"] == "deployed"
