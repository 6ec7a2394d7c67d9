"""Users of a cluster: each with a namespace, a role, a quota, a queue and a kubeconfig. See docs/users.md."""

from __future__ import annotations

from arena_install.users.add import Added, Wish, add
from arena_install.users.found import Row, User, rows, state, users
from arena_install.users.kubeconfig import Door, door
from arena_install.users.names import ROLE, USER_LABEL, VIEWER, Shared
from arena_install.users.remove import Loss, Removed, find, loss, remove
from arena_install.users.role import CLUSTER_RULES, RULES, rights, rules

__all__ = [
    "CLUSTER_RULES",
    "ROLE",
    "RULES",
    "USER_LABEL",
    "VIEWER",
    "Added",
    "Door",
    "Loss",
    "Removed",
    "Row",
    "Shared",
    "User",
    "Wish",
    "add",
    "door",
    "find",
    "loss",
    "remove",
    "rights",
    "rows",
    "rules",
    "state",
    "users",
]
