"""Which cluster, and as whom: kubeconfig files as kubectl reads them, or the account of the pod that this runs in."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from arena_install import fastyaml
from arena_install.errors import ConfigError, StepError

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: What kubeadm leaves on a control plane for root alone, and what `arena` there works with unless told otherwise.
_ADMIN = Path("/etc/kubernetes/admin.conf")
_EXEC_TIMEOUT = 60  # seconds, a person may have to log in


@dataclass(frozen=True)
class Access:
    """server: https://host:port[/path]. cert, key: PEM. insecure: do not check the server's certificate. user: the
    kubeconfig's name for the identity."""

    server: str
    namespace: str = ""
    ca: str = ""
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    basic: str = field(default="", repr=False)  # base64 of user:password
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    user: str = ""


def load(named: str = "") -> Access:
    """named: --config. Then $KUBECONFIG (several files, the first word counts), ~/.kube/config, the pod's account, the
    administrator's on a control plane.

    Raises ConfigError where there is none, or where one can't be used.
    """
    files = _files(named)
    found = [(file, _read(file)) for file in files if file.is_file()]
    if not found:
        if named:
            raise ConfigError("there is no kubeconfig", where=named, fix="correct --config")
        if (_POD / "token").is_file() and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return _in_pod()
        if not os.environ.get("KUBECONFIG") and os.access(_ADMIN, os.R_OK):
            return _merged([(_ADMIN, _read(_ADMIN))])
        places = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigError(
            "there is no kubeconfig",
            where=places,
            why="it says where the cluster is, and who you are",
            fix="ask your cluster's operator for one (arena-install user add NAME makes it)",
        )
    return _merged(found)


def _files(named: str) -> list[Path]:
    if named:
        return [Path(named).expanduser()]
    if listed := os.environ.get("KUBECONFIG"):
        return [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
    return [Path.home() / ".kube/config"]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        data = fastyaml.load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("this is not a kubeconfig", where=str(file), why=str(error).splitlines()[0]) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError("this is not a kubeconfig", where=str(file), why="it is no mapping")
    return data


def _merged(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> Access:
    where = os.pathsep.join(str(file) for file, _ in found)
    current = next((str(data["current-context"]) for _, data in found if data.get("current-context")), "")
    if not current:
        raise ConfigError("the kubeconfig has no current-context", where=where, fix="kubectl config use-context NAME")
    _, context = _named(found, "contexts", "context", current, where)
    file, cluster = _named(found, "clusters", "cluster", str(context.get("cluster", "")), where)
    if not str(cluster.get("server", "")).startswith(("https://", "http://")):
        raise ConfigError("the kubeconfig names no server", where=str(file))
    name = str(context.get("user") or "")
    home, user = _named(found, "users", "user", name, where) if name else (file, {})
    token = str(user.get("token") or "")
    if user.get("tokenFile"):
        token = _pem(home, user, "tokenFile", "").strip()
    cert, key = _pem(home, user, "client-certificate"), _pem(home, user, "client-key")
    if user.get("exec"):
        token, cert, key = _exec(home, user["exec"], cluster)
    password = user.get("username") and f"{user['username']}:{user.get('password', '')}"
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(context.get("namespace") or ""),
        ca=_pem(file, cluster, "certificate-authority"),
        cert=cert,
        key=key,
        token=token,
        basic=base64.b64encode(password.encode()).decode() if password else "",
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
        proxy=str(cluster.get("proxy-url") or ""),
        user=name,
    )


def _named(
    found: Sequence[tuple[Path, Mapping[str, Any]]], kind: str, key: str, name: str, where: str
) -> tuple[Path, Mapping[str, Any]]:
    for file, data in found:
        for row in data.get(kind) or ():
            if isinstance(row, dict) and row.get("name") == name:
                return file, row.get(key) or {}
    raise ConfigError(f"the kubeconfig has no {key} {name!r}", where=where, fix="kubectl config get-contexts")


def _pem(file: Path, row: Mapping[str, Any], key: str, suffix: str = "-data") -> str:
    """What is given in base64, or in a file whose path is relative to the kubeconfig."""
    try:
        if suffix and row.get(f"{key}{suffix}"):
            return base64.b64decode(row[f"{key}{suffix}"], validate=True).decode()
        return (file.parent / str(row[key])).read_text() if row.get(key) else ""
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise ConfigError(f"{key} can't be read", where=str(file), why=str(error)) from error


def _exec(file: Path, row: Mapping[str, Any], cluster: Mapping[str, Any]) -> tuple[str, str, str]:
    """(token, certificate, key) of a credential plugin. Raises StepError with its words."""
    command = str(row.get("command") or "")
    if "/" in command and not Path(command).is_absolute():
        command = str(file.parent / command)
    api = str(row.get("apiVersion") or "client.authentication.k8s.io/v1")
    info: dict[str, Any] = {"apiVersion": api, "kind": "ExecCredential", "spec": {"interactive": False}}
    if row.get("provideClusterInfo"):
        told = ("server", "certificate-authority-data")
        info["spec"]["cluster"] = {key: cluster[key] for key in told if key in cluster}
    environment = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    environment |= {str(pair["name"]): str(pair["value"]) for pair in row.get("env") or ()}
    try:
        done = subprocess.run(
            [command, *map(str, row.get("args") or ())],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
            timeout=_EXEC_TIMEOUT,
        )
        status = json.loads(done.stdout)["status"]
    except FileNotFoundError as error:
        raise StepError(
            "the program that logs you in is missing",
            where=str(file),
            why=command,
            fix=str(row.get("installHint") or ""),
        ) from error
    except (subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise StepError("the program that logs you in failed", where=command, why=str(error)) from error
    return (
        str(status.get("token") or ""),
        str(status.get("clientCertificateData") or ""),
        str(status.get("clientKeyData") or ""),
    )


def _in_pod() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    return Access(
        f"https://{host}:{port}",
        (_POD / "namespace").read_text().strip(),
        (_POD / "ca.crt").read_text(),
        token=(_POD / "token").read_text().strip(),
        user="the pod's service account",
    )
