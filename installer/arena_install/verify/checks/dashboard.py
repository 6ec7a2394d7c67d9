"""Suite observability, the web pages: a user made by `user add` is shown her own job and its log, and nobody else's."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_install import users
from arena_install.verify import made_user, pods
from arena_install.verify.checks import jobs
from arena_install.verify.checks.observability_drill import victim
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Kube, Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.pytorchjob import KIND
from arena_install.verify.records import records
from arena_install.verify.registry import check

_SPACE = "dashboard"
_BASE = "https://dashboard.dashboard.svc"
_JOB = "in-the-browser"
_FIX = "kubectl -n dashboard get pods; kubectl -n dashboard logs deployment/dashboard"
_SLACK = 5.0  # seconds for a page to be made, and the answer's way


@check(
    "observability.dashboard",
    "A user finds her own job and its log in the browser, and nobody else's",
    proves="without a login no page shows anything; with a token of `arena dashboard`, a user sees her job and a line "
    "that it wrote, and not a pod of another namespace; the certificate is for the Service's name",
    severity="critical",
    needs=("security.made-user", "cluster.dns", "component:dashboard", "component:training-operator"),
    timeout=240,
    writes=True,
)
def dashboard(ctx: Context) -> Outcome:
    word, other = f"word-{secrets.token_hex(8)}", ctx.session.workspaces.get("restricted")
    with tempfile.TemporaryDirectory(prefix="arena-install-") as folder:
        try:
            added = made_user.make(ctx.session, Path(folder))
            user, space = Kube(added.file), added.identity.namespace
            user.create(namespaced("pytorchjobs", space, group=KIND), _job(ctx, word))
            pod = f"{_JOB}-master-0"
            pods.wait_for(ctx, space, [pod], pods.running, "pod of the job running")
            token = token_of(user, space, users.VIEWER)
            wanted = {
                "/": _JOB,
                f"/jobs/{space}/{_JOB}": pod,
                f"/logs/{space}/{pod}/text": word,
                "/?": "<span>flannel ",  # without which there would be no page
                f"/logs/{other}/browser/text": "ARENA-VERIFY",
            }
            seen = browse(ctx, token, wanted)
        finally:
            made_user.remove(ctx.session)
    problems = _login(seen) + [text for path in wanted for text in _page(seen[path], mine=f"/{other}/" not in path)]
    expected = "401 without a login, her job and its line with one, 403 for another namespace's pod"
    if problems:
        return failed(expected, f"{len(problems)} differences", cause="\n".join(problems), fix=_FIX)
    return passed(expected, f"all of it, on {len(wanted)} pages", data={"pages": list(seen.values())})


def token_of(kube: Kube, namespace: str, account: str) -> str:
    """As `arena dashboard` and `kubectl create token` ask for one."""
    body: Object = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    made = kube.create(namespaced("serviceaccounts", namespace, account) + "/token", body)
    return str(made["status"]["token"])


def browser(ctx: Context, token: str, wanted: Mapping[str, str], within: float) -> Object:
    """A pod that asks for these pages. wanted: path -> a word that is to be there."""
    payload = ctx.session.workspaces.payload(ctx.session.workspaces.get("restricted"))
    ca = (ctx.kube.find(namespaced("configmaps", _SPACE, "dashboard-ca")) or {}).get("data") or {}
    pages = [f"{path}={word}" for path, word in wanted.items()]
    command = ["python3", "/payload/web_pages.py", f"--within={within:g}", _BASE, *pages]
    env = {"TOKEN": token, "CA": str(ca.get("ca.crt", ""))}
    return pods.manifest(ctx, "browser", pods.PYTORCH, command, env=env, payload=payload)


def browse(ctx: Context, token: str, wanted: Mapping[str, str], within: float = 20.0) -> dict[str, dict[str, Any]]:
    """Path (and "login") -> what the payload reported."""
    space = ctx.session.workspaces.get("restricted")
    said = pods.run_all(ctx, space, [browser(ctx, token, wanted, within)], "browser done")["browser"]
    return {str(row.get("path", "login")): row for row in records(said)}


def _login(seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    login = seen["login"]
    problems = [] if login["status"] == 200 else [f"the login with her token was answered with {login['status']}"]
    return problems + ([] if login["cookie"] else ["the cookie of the login is open to scripts, or to plain HTTP"])


def _page(row: Mapping[str, Any], *, mine: bool) -> Sequence[str]:
    path, problems = row["path"], []
    if row["stranger"] != 401:
        problems.append(f"{path} without a login: {row['stranger']}, 401 is expected")
    if row["leaked"]:
        problems.append(f"{path} without a login shows what is for its owner alone")
    if mine and not row["there"]:
        problems.append(f"{path} with the login: {row['status']}, and what was to be there is not")
    if not mine and (row["status"] != 403 or row["there"]):
        problems.append(f"{path}, another namespace's, with the login: {row['status']}, 403 is expected")
    return problems


def _job(ctx: Context, word: str) -> Object:
    """One master without a GPU, that writes a line and waits."""
    template = jobs.template(ctx, "pytorch", pods.BUSYBOX, ["sh", "-c", f"echo {word}; exec sleep 600"])
    template["spec"].pop("restartPolicy")  # the replica's own says it
    return {
        "apiVersion": KIND,
        "kind": "PyTorchJob",
        "metadata": {"name": _JOB, "labels": pods.own_labels(ctx)},
        "spec": {"pytorchReplicaSpecs": {"Master": {"replicas": 1, "restartPolicy": "Never", "template": template}}},
    }


@check(
    "observability.dashboard-alert",
    "A GPU's error reaches the web pages, with the pod that it hit",
    proves="within two scrapes and two evaluations of rules an XID stands on the first page, beside the pod's name",
    required=False,  # real GPUs can't be made to fail for it
    needs=("observability.gpu-error", "observability.dashboard"),
    holds=("gpu",),
    timeout=300,
    writes=True,
    default=False,
    alone=True,
)
def alert(ctx: Context) -> Outcome:
    with victim(ctx, "suffers") as it:
        if isinstance(it, Outcome):
            return it
        held, within = it.held, it.scrapes + it.evaluations + _SLACK
        token = token_of(ctx.kube, _SPACE, "viewer")
        # The browser's pod starts first: its start is none of the page's time.
        there = browser(ctx, token, {"/": f"own making: {held.namespace}/{held.pod}"}, 90)
        pods.create(ctx, held.namespace, [there])
        pods.wait_for(ctx, held.namespace, ["browser"], pods.running, "browser running")
        began = time.monotonic()
        it.strike(ctx)
        pods.wait_for(ctx, held.namespace, ["browser"], pods.done, "browser done")
        seconds = time.monotonic() - began
        rows = records(ctx.kube.logs(held.namespace, "browser"), "page")
        pods.remove(ctx, held.namespace, [there], wait=False)
    expected = f"XID {it.xid} and pod {held.pod} on the first page within {within:g} s"
    if not rows or not rows[0]["there"] or seconds > within:
        raise CheckFailed(
            f"not there after {seconds:.0f} s",
            cause=f"the alert fires (observability.gpu-error); the page was answered with {rows and rows[0]['status']}",
            fix=f"{_FIX}; kubectl get clusterrole arena-install-dashboard-viewer -o yaml: it may ask Prometheus",
        )
    return passed(expected, f"after {seconds:.1f} s", data={"page_seconds": seconds})
