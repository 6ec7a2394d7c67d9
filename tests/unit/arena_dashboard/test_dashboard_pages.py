"""The pages by HTTP, against an API server on loopback: who may see what, and that nothing of it is code."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from fakeapi import INSTALLED, FakeApi
from world import EVENTS, JOBS, NODES, PODS

from arena_cli.kube.client import Client
from arena_cli.kube.config import Access
from arena_dashboard import monitoring, stream
from arena_dashboard.installed import state
from arena_dashboard.people import People
from arena_dashboard.server import COOKIE, Link, Server, Site
from arena_install.errors import ConfigError

ALICE, ADMIN, OWN = "alice-token", "admin-token", "own-token"
PROMETHEUS = "/api/v1/namespaces/prometheus/services/prometheus:9090/proxy/api/v1"

Script = Callable[[TestClient[Any, Any]], Awaitable[None]]


def gpu(field: str, value: float, index: int = 0, **labels: str) -> dict[str, Any]:
    metric = {"__name__": field, "node": "gpu-1", "gpu": str(index), "UUID": f"GPU-{index}", "modelName": "NVIDIA A100"}
    return {"metric": {**metric, **labels}, "value": [1_800_000_000, str(value)]}


def alert(name: str, severity: str = "critical", state: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"{name} of {labels.get('node', 'it')}", "action": "arena-install doctor"},
        "state": state,
        "activeAt": "2026-11-27T22:00:00.1Z",
    }


@pytest.fixture
def world() -> Iterator[FakeApi]:
    with FakeApi({**INSTALLED, "apps/v1": {"Deployment": "deployments", "DaemonSet": "daemonsets"}}) as api:
        api.add(*copy.deepcopy([*JOBS, *PODS, *NODES, *EVENTS]))
        api.people = {
            ALICE: "system:serviceaccount:default:dashboard",
            ADMIN: "kubernetes-admin",
            OWN: "own",
        }
        api.logs["default/pt-run-master-0/"] = "epoch 1 <b>\nloss 0.1\n"
        yield api


LAB = Site("lab", tls=False)


def serve(world: FakeApi, script: Script, site: Site = LAB) -> None:
    """Run a script with a browser of its own."""

    async def run() -> None:
        server = TestServer(Server(lambda: Access(world.url, token=OWN), site).app())
        async with TestClient(server, cookie_jar=CookieJar(unsafe=True)) as client:
            await script(client)

    asyncio.run(run())


async def enter(client: TestClient[Any, Any], token: str = ALICE, **more: Any) -> ClientResponse:
    return await client.post("/login", data={"token": token, **more}, allow_redirects=False)


async def text(client: TestClient[Any, Any], path: str, status: int = 200) -> str:
    answer = await client.get(path, headers={"Accept": "text/html"})
    body = await answer.text()
    assert answer.status == status, body
    return body


@pytest.mark.parametrize("path", ["/", "/jobs/default/pt-run", "/logs/default/pt-run-master-0", "/nothing"])
def test_without_a_login_there_is_nothing_but_the_login(world: FakeApi, path: str) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        page = await text(client, path, 401)
        assert 'action="/login"' in page and "pt-run-worker" not in page
        assert (await client.get(path)).status == 401  # no browser
        client.session.cookie_jar.update_cookies({COOKIE: "made-up"}, client.make_url("/"))
        await text(client, path, 401)
        assert world.requests == []

    serve(world, script)


def test_a_login_shows_ones_own_and_nobody_elses(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        answer = await enter(client, back="/jobs/default/pt-run")
        assert answer.status == 303 and answer.headers["Location"] == "/jobs/default/pt-run"
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie and ALICE not in cookie
        page = await text(client, "/")
        assert "pt-run" in page and "theirs" not in page and ">default<" in page
        job = await text(client, "/jobs/default/pt-run")
        assert (
            "pt-run-worker-0" in job and "Successfully assigned" in job and 'src="/logs/default/pt-run-master-0"' in job
        )
        assert "epoch 1 &lt;b&gt;\nloss 0.1" in await text(client, "/logs/default/pt-run-master-0")
        whole = await client.get("/logs/default/pt-run-master-0/text")
        assert await whole.read() == b"epoch 1 <b>\nloss 0.1\n" and whole.content_type == "text/plain"
        for path in ("/jobs/team/theirs", "/logs/team/theirs-master-0"):
            refused = await text(client, path, 403)
            assert "theirs-worker" not in refused and "you may not do this" in refused
        assert "not found" in await text(client, "/jobs/default/nothing", 404)

    serve(world, script)
    assert not [line for line in world.changes() if "review" not in line]


def test_an_administrator_sees_all_namespaces(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client, ADMIN)
        page = await text(client, "/")
        assert "theirs" in page and "pt-run" in page and "kubernetes-admin" in page

    serve(world, script)


@pytest.mark.parametrize(
    ("token", "status", "says"),
    [
        ("of-nobody", 401, "does not know this token"),
        ("two words", 400, "this is not a token"),
        ("", 400, "this is not a token"),
        ("a\r\nX-Evil: 1", 400, "this is not a token"),
    ],
)
def test_a_token_that_does_not_open(world: FakeApi, token: str, status: int, says: str) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        answer = await enter(client, token)
        assert answer.status == status and says in await answer.text()
        assert "Set-Cookie" not in answer.headers
        await text(client, "/", 401)

    serve(world, script)


def test_a_token_that_ends_ends_the_login(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        del world.people[ALICE]
        assert 'action="/login"' in await text(client, "/", 401)

    serve(world, script)


def test_a_login_lasts_no_longer_than_its_token() -> None:
    from arena_dashboard.people import _end

    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    assert _end(f"{part({})}.{part({'exp': 1_800_000_000})}.x") == 1_800_000_000
    assert _end("opaque") == _end(f"{part({})}.{part({})}.x") == _end("a.!!.c") == float("inf")


def test_logging_out(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        kept = client.session.cookie_jar.filter_cookies(client.make_url("/"))[COOKIE].value
        await client.post("/logout")
        client.session.cookie_jar.update_cookies({COOKIE: kept}, client.make_url("/"))
        await text(client, "/", 401)

    serve(world, script)


def test_forms_of_other_sites_are_refused(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await client.post("/login", data={"token": ALICE}, headers=headers)
            assert answer.status == 403 and "Set-Cookie" not in answer.headers

    serve(world, script)


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "/a\nb"]
)
def test_the_login_leads_back_here_alone(world: FakeApi, back: str) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        assert (await enter(client, back=back)).headers["Location"] == "/"

    serve(world, script)


def test_every_answer_forbids_scripts_and_frames_of_others(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        for path in ("/", "/login", "/style.css", "/healthz", "/nothing"):
            headers = (await client.get(path)).headers
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src" not in policy and "frame-ancestors 'self'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
            assert "Strict-Transport-Security" not in headers

    serve(world, script)

    async def safe(client: TestClient[Any, Any]) -> None:
        answer = await enter(client)
        assert "Secure" in answer.headers["Set-Cookie"] and "max-age" in answer.headers["Strict-Transport-Security"]

    serve(world, safe, Site("lab", tls=True))


def test_what_others_wrote_is_no_code(world: FakeApi) -> None:
    evil = "<script>alert(1)</script>"
    for obj in world.objects.values():
        if obj["kind"] == "Event":
            obj["message"] = evil

    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        for path in ("/", "/jobs/default/pt-run"):
            page = await text(client, path)
            assert evil not in page and "<script" not in page and not re.search(r"\son\w+=|\sstyle=", page)
        assert "&lt;script&gt;" in await text(client, "/jobs/default/pt-run")
        lost = await text(client, f"/jobs/default/{evil}", 404)
        assert evil not in lost

    serve(world, script, Site("<b>", (Link("Jupyter & more", "https://hub.example/"),), tls=False))


def test_gpus_and_alerts_name_the_pod_that_suffers(world: FakeApi) -> None:
    pod = {"namespace": "default", "pod": "pt-run-master-0"}
    samples = [
        gpu("DCGM_FI_DEV_GPU_TEMP", 50, 0), gpu("DCGM_FI_DEV_GPU_UTIL", 97, 0),
        gpu("DCGM_FI_DEV_XID_ERRORS", 79, 1, **pod),
    ]  # fmt: skip
    answers = {
        f"{PROMETHEUS}/query": {"result": samples},
        f"{PROMETHEUS}/alerts": {
            "alerts": [
                alert("Watchdog", "none"),
                alert("GpuLost", node="gpu-1", state="pending"),
                alert("GpuXid", node="gpu-1", UUID="GPU-1", **pod),
            ]
        },
    }
    for path, data in answers.items():
        world.objects[path] = {"kind": "Answer", "metadata": {"name": path}, "status": "success", "data": data}
    who = world._who
    world._who = lambda path, token: None if path.startswith(PROMETHEUS) else who(path, token)  # type: ignore[method-assign]

    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        page = await text(client, "/")
        assert "does not answer, XID 79" in page and "Watchdog" not in page
        assert page.count("<b>default/pt-run-master-0</b>") == 2 and "No figures" not in page
        assert page.index("GpuXid") < page.index("GpuLost")  # what fires before what is about to
        job = await text(client, "/jobs/default/pt-run")
        assert "does not answer, XID 79" in job and "GpuLost" in job

    serve(world, script)


def test_without_prometheus_the_rest_is_there(world: FakeApi) -> None:
    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        page = await text(client, "/")
        assert "No figures of GPUs and no alerts: you may not ask Prometheus" in page and "pt-run" in page

    serve(world, script)


def test_what_is_installed_is_read_with_the_servers_own_account(world: FakeApi) -> None:
    entry = {"status": "done", "version": "1.2", "objects": [
        {"api_version": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "team"},
        {"api_version": "v1", "kind": "Service", "name": "web", "namespace": "team"},
    ]}  # fmt: skip
    data = {"web": json.dumps(entry), "gone": json.dumps({"status": "leaving", "objects": []})}
    meta = {"name": "arena-install-ledger", "namespace": "arena-install-system"}
    world.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    world.add(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "team"},
            "spec": {"replicas": 2},
            "status": {"readyReplicas": 1},
        }
    )

    async def script(client: TestClient[Any, Any]) -> None:
        await enter(client)
        page = await text(client, "/")
        assert "1 of 2 pods ready" in page and "being removed" in page and "1.2" in page

    serve(world, script)


@pytest.mark.parametrize(
    ("workloads", "says"),
    [
        ([], "ready"),
        ([{"spec": {"replicas": 2}, "status": {"readyReplicas": 2}}], "ready"),
        ([{"spec": {}, "status": {}}], "0 of 1 pods ready"),
        ([{"spec": {"replicas": 0}, "status": {}}], "ready"),
        ([{"status": {"desiredNumberScheduled": 3, "numberReady": 2}}], "2 of 3 pods ready"),
        ([{"status": {"desiredNumberScheduled": 0}}], "ready"),
        ([None], "a part of it is gone"),
    ],
)
def test_state_of_a_component(workloads: list[Any], says: str) -> None:
    assert state({"status": "done"}, workloads) == says
    assert state({"status": "failed"}, workloads) == "not installed"


def test_a_harmless_error_is_no_trouble() -> None:
    seen = monitoring.read([gpu("DCGM_FI_DEV_GPU_TEMP", 40), gpu("DCGM_FI_DEV_XID_ERRORS", 13)], [])
    assert [one.trouble for one in seen.gpus] == [""]
    grave = alert("GpuXid", node="w1", UUID="GPU-0")
    seen = monitoring.read([gpu("DCGM_FI_DEV_GPU_TEMP", 40), gpu("DCGM_FI_DEV_XID_ERRORS", 48)], [grave])
    assert [one.trouble for one in seen.gpus] == ["XID 48"] and seen.firing == 1


def test_who_stops_reading_a_log_ends_the_question_to_the_api() -> None:
    ended = asyncio.Event()

    async def log(request: web.Request) -> web.StreamResponse:
        assert request.query == {"follow": "true", "tailLines": "2000", "container": "main"}
        assert request.headers["Authorization"] == "Bearer t"
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            await answer.write(b"one\n")
            await asyncio.sleep(60)
        finally:
            ended.set()
        return answer

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/ml/pods/train-0/log", log)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        pieces = stream.lines(Client(Access(base, token="t")), "ml", "train-0", "main", follow=True)
        assert await anext(pieces) == b"one\n"
        await pieces.aclose()
        await asyncio.wait_for(ended.wait(), 10)
        await runner.cleanup()

    asyncio.run(run())


def test_logins_are_bounded(world: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena_dashboard.people._MOST", 2)
    people = People(Access(world.url))
    ids = [people.enter(ALICE)[0] for _ in range(3)]
    assert [people.find(id) is None for id in ids] == [True, False, False]
    with pytest.raises(ConfigError):
        people.enter("no token")
