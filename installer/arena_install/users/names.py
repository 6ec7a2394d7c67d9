"""How everything of a user is called, and which names can be meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from arena_install.errors import ConfigError

#: On everything that belongs to a user: its value is the user's name.
USER_LABEL = "arena-install.local/user"
#: On a namespace: which of the certificates made for a user has rights. A new one ends all others.
ID = "arena-install.local/user-id"
UNTIL = "arena-install.local/certificate-until"
#: On what all users share.
SHARED_LABEL = "arena-install.local/users"
#: On Roles in the platform's namespaces that every user gets.
FOR_USERS_LABEL = "arena-install.local/for-users"
#: On what a user has for one component alone: it goes with that.
COMPONENT_LABEL = "arena-install.local/component"
MANAGED = {"app.kubernetes.io/managed-by": "arena-install"}

ROLE = "arena-user"  # Role, RoleBinding, ResourceQuota and LimitRange in the user's namespace
#: ServiceAccount, Role and RoleBinding by which web pages show the user's jobs.
VIEWER = "dashboard"
LOCAL_QUEUE = "training"
GPU = "nvidia.com/gpu"

_PREFIX = "arena:"
_ID_LENGTH = 6
#: A certificate's common name has at most 64 characters (RFC 5280, ub-common-name).
LONGEST = 64 - len(_PREFIX) - 1 - _ID_LENGTH
_LONGEST_NAMESPACE = 63  # RFC 1123, a label
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
_DAYS = 3650


@dataclass(frozen=True)
class Shared:
    """Names of what belongs to no namespace and to all users; verify's own users have theirs, so that its runs and
    people who add users are never in each other's way. own: whether there is to be such a queue whatever others there
    are."""

    cluster_role: str = "arena-user"
    cluster_queue: str = "whole-cluster"
    flavor: str = "any-node"
    own: bool = False


SHARED = Shared()


def identity(name: str, id: str) -> str:
    """Who the API server takes a user for. The id at its end makes it nobody else's, for ever: who comes later under
    the same name has another one, so that an old certificate stays worthless."""
    return f"{_PREFIX}{name}:{id}"


def name_of(identity: str) -> str:
    """The user whose identity it is, "" for what is none of ours."""
    found = re.fullmatch(rf"{_PREFIX}([-a-z0-9]+):[0-9a-f]{{{_ID_LENGTH}}}", identity)
    return found[1] if found else ""


def cluster_binding(name: str) -> str:
    return f"arena-user-{name}"


def check_name(name: str) -> None:
    """Raises ConfigError."""
    _check("user", name, LONGEST, "it is part of a certificate's common name")


def check_namespace(namespace: str, taken: Iterable[str]) -> None:
    """taken: namespaces that the platform uses, or will when a component is installed. Raises ConfigError."""
    _check("namespace", namespace, _LONGEST_NAMESPACE, "Kubernetes allows no more")
    if namespace.startswith("kube-") or namespace in {"default", "arena-system", *taken}:
        raise ConfigError(
            f"namespace {namespace} is the platform's",
            fix="name another one for the user: --namespace NAME",
        )


def _check(what: str, name: str, longest: int, why: str) -> None:
    if len(name) > longest:
        raise ConfigError(
            f"{what} {name!r} has {len(name)} characters, {longest} are the most",
            why=why,
            fix=f"a shorter name, such as {name[: min(longest, 20)].strip('-')}",
        )
    if not _NAME.fullmatch(name):
        mended = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:longest].strip("-")
        raise ConfigError(
            f"{name!r} can't be the name of a {what}",
            why="small letters, digits and - between them",
            fix=f"such as {mended}" if mended else "such as alice",
        )


def check_quantity(flag: str, text: str) -> None:
    """Raises ConfigError for what Kubernetes would not take as an amount."""
    if not _QUANTITY.fullmatch(text):
        example = "16 or 500m" if flag == "--cpu" else "64Gi"
        raise ConfigError(f"{flag}: {text!r} is no amount", fix=f"such as {example}")


def check_days(days: int) -> None:
    if not 1 <= days <= _DAYS:
        raise ConfigError(f"--days: {days} is not from 1 to {_DAYS}")


def check_gpus(gpus: int) -> None:
    if gpus < 0:
        raise ConfigError(f"--gpus: {gpus} is less than none")
