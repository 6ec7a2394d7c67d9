"""Suite security, the part about ourselves: what a run writes down must be fit to be handed on."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from arena_install.inventory.cluster import Cluster
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

_SHORTEST = 12  # characters; a shorter value is found everywhere and is no key
_LARGEST = 64 << 20  # bytes of a file that is still read
_HELM = "helm.sh/release.v1"  # manifests, packed; the objects in them are judged by themselves

_PATTERNS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a service account's token": re.compile(rb"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    "a private key of a kubeconfig": re.compile(rb"client-key-data: *[\"']?[A-Za-z0-9+/]{40}"),
}


@check(
    "security.report",
    "The report holds no secret",
    proves="no file of this run has a private key, a token, or the value of any Secret, kubeconfig or password we know",
    severity="critical",
    needs=("cluster.api",),
    timeout=60,
    last=True,
)
def report(ctx: Context) -> Outcome:
    known = {**cluster_secrets(ctx.kube.items("/api/v1/secrets")), **own_secrets(ctx.kube.file, ctx.cluster)}
    files = [path for folder in ctx.session.folders for path in sorted(folder.rglob("*")) if path.is_file()]
    found = list(search(files, known))
    expected = f"none of {len(known)} known secrets in what this run wrote so far, and nothing that looks like one"
    if found:
        return failed(
            expected,
            f"{len(found)} found",
            cause="\n".join(f"{path} holds {what}" for path, what in found),
            fix="don't hand this report on; what is in a pod's env or log belongs into a secretKeyRef, or nowhere",
        )
    return passed(expected, f"{len(files)} files read")


def cluster_secrets(objects: Iterable[Object]) -> dict[bytes, str]:
    """value -> what it is, for every Secret's value that is one: long enough, and no certificate, which is public."""
    found: dict[bytes, str] = {}
    for row in objects:
        if row.get("type") == _HELM:
            continue
        for key, text in (row.get("data") or {}).items():
            value = base64.b64decode(text)
            if b"-----BEGIN CERTIFICATE" in value and b"PRIVATE KEY" not in value:
                continue
            what = f"the value of {key} in Secret {row['metadata']['namespace']}/{row['metadata']['name']}"
            found |= dict.fromkeys(_forms(value), what)
    return found


def own_secrets(kubeconfig: Path, cluster: Cluster) -> dict[bytes, str]:
    """The same for the kubeconfig that is used, and for passwords of the inventory."""
    found: dict[bytes, str] = {}
    for user in yaml.safe_load(kubeconfig.read_text()).get("users") or ():
        for key in ("client-key-data", "token", "password"):
            if value := (user.get("user") or {}).get(key):
                forms = (
                    _forms(base64.b64decode(value)) | {str(value).encode()}
                    if key.endswith("data")
                    else _forms(str(value).encode())
                )
                found |= dict.fromkeys(forms, f"the kubeconfig's {key}")
    for host in cluster.hosts:
        for name, value in host.vars.items():
            if re.search("pass", name) and isinstance(value, str) and len(value) >= _SHORTEST:
                found[value.encode()] = f"{name} of host {host.name}"
    return found


def _forms(value: bytes) -> set[bytes]:
    """What to look for: the longest line, since files break and indent lines, and all of it in base64."""
    line = max(value.splitlines() or [b""], key=len).strip()
    return {line, base64.b64encode(value)} if len(line) >= _SHORTEST else set()


def search(files: Iterable[Path], known: dict[bytes, str]) -> Iterator[tuple[Path, str]]:
    """(file, what is in it), each kind once a file."""
    for path in files:
        if path.stat().st_size > _LARGEST:
            continue
        content = path.read_bytes()
        what = {name for value, name in known.items() if value in content}
        what |= {name for name, pattern in _PATTERNS.items() if pattern.search(content)}
        yield from ((path, name) for name in sorted(what))
