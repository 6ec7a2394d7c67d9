"""A user of one run's own, made and removed by what `arena-install user` does, with role, quota, queue, certificate.

What belongs to no namespace has names of the run's own too, so that people can add users meanwhile. It goes when the
check is done, else when the run ends, else, after a killed run, with the next one.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

from arena_install import users
from arena_install.stack.api import Api
from arena_install.users import Added, Shared, Wish
from arena_install.verify.kube import ApiError, Kube, segment
from arena_install.verify.session import Session
from arena_install.verify.workspace import RUN_LABEL, expired

#: Of these the user may have as many at once.
GPUS = 1

_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_NAME = "verify-"


def make(session: Session, folder: Path) -> Added:
    """folder: for the kubeconfig; none that goes into a report. Raises what `users.add` does."""
    name = f"{_NAME}{session.id}"
    wish = Wish(
        name,
        f"arena-{name}-user",
        GPUS,
        days=1,
        shared=_shared(name),
        labels={RUN_LABEL: session.id},
        annotations=session.workspaces.expiry(),
    )
    session.workspaces.at_end(partial(_remove, session.kube, name))
    to = users.door(session.kube.file, session.cluster.name)
    api = Api(session.kube.file)
    try:
        return users.add(api, wish, to, folder / "kubeconfig")
    finally:
        api.close()


def remove(session: Session) -> None:
    _remove(session.kube, f"{_NAME}{session.id}")


def sweep(kube: Kube) -> None:
    """What killed runs left; their namespaces go by themselves, as all of a run's do."""
    with contextlib.suppress(ApiError):  # who may not list bindings has made no user either
        left = kube.items(_BINDINGS, labelSelector=f"{RUN_LABEL},{users.USER_LABEL}")
        for row in filter(expired, left):
            _remove(kube, row["metadata"]["labels"][users.USER_LABEL])
        for row in filter(expired, kube.items(_ROLES, labelSelector=RUN_LABEL)):
            kube.delete(f"{_ROLES}/{segment(row['metadata']['name'])}")


def _shared(name: str) -> Shared:
    return Shared(f"arena-{name}", f"arena-{name}", f"arena-{name}", own=True)


def _remove(kube: Kube, name: str) -> None:
    api = Api(kube.file)
    try:
        for user in users.users(api):
            if user.name == name:
                users.remove(api, user, _shared(name))
    finally:
        api.close()
