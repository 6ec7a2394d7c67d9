"""The file that a user is handed: the way to the API, the certificate, the namespace. Nobody else may read it."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from arena_install import fastyaml
from arena_install.errors import ConfigError, StepError
from arena_install.users import certificate
from arena_install.users.certificate import Certificate
from arena_install.users.names import name_of

_LEFT = timedelta(days=1)  # a certificate that ends sooner is made anew


@dataclass(frozen=True)
class Door:
    """How the cluster is reached, as a kubeconfig has it: its name, and the entry with server and CA."""

    cluster: str
    entry: Mapping[str, Any]


def door(admin: Path, cluster: str) -> Door:
    """From the administrator's kubeconfig, with its CA inside. Raises ConfigError."""
    try:
        found = fastyaml.load(admin.read_text("utf-8"))
        context = next(row["context"] for row in found["contexts"] if row["name"] == found["current-context"])
        entry = next(dict(row["cluster"]) for row in found["clusters"] if row["name"] == context["cluster"])
        if file := entry.pop("certificate-authority", ""):
            content = (admin.parent / file).read_bytes()
            entry["certificate-authority-data"] = base64.b64encode(content).decode()
    except (OSError, ValueError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
        raise ConfigError("this file is not a usable kubeconfig", where=str(admin), why=repr(error)) from error
    return Door(cluster, entry)


def write(path: Path, to: Door, name: str, namespace: str, mine: Certificate) -> None:
    """In one piece, mode 0600: whoever reads the file finds the old one or the new one. Raises StepError."""
    context = f"{name}@{to.cluster}"
    user = {
        "client-certificate-data": base64.b64encode(mine.certificate).decode(),
        "client-key-data": base64.b64encode(mine.key).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": to.cluster, "cluster": dict(to.entry)}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": context, "context": {"cluster": to.cluster, "user": name, "namespace": namespace}},
        ],
        "current-context": context,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600 by itself
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(yaml.safe_dump(document, sort_keys=False))
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StepError("the kubeconfig can't be written", where=str(path), why=str(error)) from error


def check_free(path: Path, name: str) -> None:
    """That nothing is overwritten but a kubeconfig of this user's, made by us. Raises ConfigError."""
    if path.is_dir():
        raise ConfigError("this is a folder, and a file is wanted", where=str(path), fix=f"-o {path}/{name}.kubeconfig")
    if path.exists() and name_of(_owner(path)) != name:
        raise ConfigError(
            f"there is a file already, and it is no kubeconfig of {name}'s",
            where=str(path),
            fix="name another file with -o",
        )


def usable_until(path: Path, to: Door, identity: str, namespace: str) -> datetime | None:
    """When the certificate in a file ends; None where the file is not there, is for another identity, cluster or
    namespace, or ends within a day."""
    found = _read(path)
    try:
        context = found["contexts"][0]["context"]
        same = (found["clusters"][0]["cluster"], context.get("namespace")) == (dict(to.entry), namespace)
        pem = base64.b64decode(found["users"][0]["user"]["client-certificate-data"])
        until = certificate.end(pem)
        mine = certificate.owner(pem) == identity
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    if not (same and mine) or until < datetime.now(UTC) + _LEFT:
        return None
    path.chmod(0o600)
    return until


def _owner(path: Path) -> str:
    try:
        return certificate.owner(base64.b64decode(_read(path)["users"][0]["user"]["client-certificate-data"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ""


def _read(path: Path) -> Any:
    try:
        return fastyaml.load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
