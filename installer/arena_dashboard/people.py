"""Who is logged in. Kept in memory alone: a restart logs everybody out, and a token is never written down."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from dataclasses import dataclass, replace

from arena_cli.kube.client import ApiError, Client, at
from arena_cli.kube.config import Access
from arena_install.errors import ConfigError

LONGEST = 12 * 3600.0  # seconds until one has to log in again
_MOST = 1000  # logins that are kept; one more ends the oldest
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):[^:]+")


@dataclass(frozen=True)
class Person:
    """name: as the API server has it. namespace: whose jobs are shown, "" for everybody's. until: Unix seconds."""

    name: str
    namespace: str
    client: Client
    until: float

    @property
    def short(self) -> str:
        account = _ACCOUNT.fullmatch(self.name)
        return account[1] if account and self.namespace else self.name


class People:
    def __init__(self, access: Access) -> None:
        """access: how the API is reached; who asks is replaced."""
        self._access = access
        self._there: dict[str, Person] = {}

    def enter(self, token: str) -> tuple[str, Person]:
        """(id of the login, who it is). Raises ConfigError for what is no token, UnknownError for one that the API does
        not know, UnreachableError."""
        token = token.strip()
        if not _TOKEN.fullmatch(token):
            raise ConfigError("this is not a token", why="a token is one word", fix="`arena dashboard` prints one")
        client = Client(replace(self._access, token=token, cert="", key="", basic="", user=""))
        name = _name(client)
        account = _ACCOUNT.fullmatch(name)
        namespace = "" if _sees_all(client) else account[1] if account else "default"
        person = Person(name, namespace, client, min(time.time() + LONGEST, _end(token)))
        now = time.time()
        self._there = {id: one for id, one in self._there.items() if one.until > now}
        while len(self._there) >= _MOST:
            del self._there[next(iter(self._there))]
        id = secrets.token_urlsafe(32)
        self._there[id] = person
        return id, person

    def find(self, id: str) -> Person | None:
        person = self._there.get(id)
        return person if person and person.until > time.time() else None

    def leave(self, id: str) -> None:
        self._there.pop(id, None)


def _name(client: Client) -> str:
    api = "authentication.k8s.io/v1"
    found = client.create(at(api, "selfsubjectreviews"), {"apiVersion": api, "kind": "SelfSubjectReview"})
    return str(found["status"]["userInfo"]["username"])


def _sees_all(client: Client) -> bool:
    api = "authorization.k8s.io/v1"
    attributes = {"verb": "list", "resource": "pods"}  # no namespace: of all
    review = {"apiVersion": api, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    try:
        return bool(client.create(at(api, "selfsubjectaccessreviews"), review)["status"].get("allowed"))
    except ApiError:
        return False


def _end(token: str) -> float:
    """When it ends, by its own word, which the API server has checked. Never, for one that is no JWT (RFC 7519)."""
    try:
        part = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return float("inf")
