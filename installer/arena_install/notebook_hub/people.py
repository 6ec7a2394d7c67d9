"""Who may come in: the users that `arena-install user add` made, each to the own namespace. Pure.

Someone is called NAMESPACE-ID in the hub: the id is that of the user's certificate, so that whoever was revoked or
removed is nobody there either, and who comes later under the same name is somebody else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: As arena_install.users has them, which is not in the image.
USER_LABEL = "arena-install.local/user"
ID = "arena-install.local/user-id"
MANAGED = ("app.kubernetes.io/managed-by", "arena-install")

#: The Secret in each user's namespace that holds the password.
LOGIN = "notebook-login"
#: A password is made by `user add`; a user who puts another one there may not make it guessable.
SHORTEST = 16

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ID = re.compile(r"[0-9a-f]{6}")


def is_name(text: str) -> bool:
    """Whether it can be a user's name: it becomes part of a query."""
    return bool(_NAME.fullmatch(text))


def namespace_of(hub_name: str) -> str:
    """What hub_name was made of; "" for what it does not make."""
    namespace, _, id = hub_name.rpartition("-")
    return namespace if is_name(namespace) and _ID.fullmatch(id) else ""


def hub_name(namespace: Mapping[str, Any]) -> str:
    """What the owner of a namespace is called in the hub, "" for a namespace that is no user's or is going."""
    meta = namespace["metadata"]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    id = str(notes.get(ID, ""))
    ours = labels.get(USER_LABEL) and labels.get(MANAGED[0]) == MANAGED[1] and not meta.get("deletionTimestamp")
    return f"{meta['name']}-{id}" if ours and _ID.fullmatch(id) else ""


def owner(namespaces: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one namespace of a user; None where there is none, and where it can't be told which."""
    found = [one for one in namespaces if hub_name(one)]
    return found[0] if len(found) == 1 else None


def is_right(secret: Mapping[str, Any] | None, password: str) -> bool:
    """Whether it is the password that a Secret holds, as the API gives it: in base64."""
    text = str(((secret or {}).get("data") or {}).get("password", ""))
    try:
        wanted = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return len(wanted) >= SHORTEST and hmac.compare_digest(wanted, password.encode())
