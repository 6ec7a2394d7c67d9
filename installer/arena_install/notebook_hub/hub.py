"""JupyterHub's door and its servers: users of arena-install come in, and a notebook runs in its user's namespace."""

from __future__ import annotations

from typing import Any

import people  # type: ignore[import-not-found]  # beside this file
from jupyterhub.auth import Authenticator  # type: ignore[import-not-found]
from kubernetes_asyncio.client import ApiException  # type: ignore[import-not-found]
from kubespawner import KubeSpawner  # type: ignore[import-not-found]
from kubespawner.clients import load_config, shared_client  # type: ignore[import-not-found]
from traitlets import default  # type: ignore[import-not-found]


class Users(Authenticator):  # type: ignore[misc]
    """By name and the password of Secret `notebook-login` in the user's namespace."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        name = data["username"]
        if not people.is_name(name):
            return None
        label = f"{people.USER_LABEL}={name}"
        namespace = people.owner((await self._api("list_namespace", label_selector=label) or {}).get("items") or ())
        if namespace is None:
            return None
        home = namespace["metadata"]["name"]
        secret = await self._api("read_namespaced_secret", name=people.LOGIN, namespace=home)
        return str(people.hub_name(namespace)) if people.is_right(secret, data["password"]) else None

    async def refresh_user(self, user: Any, handler: Any = None) -> bool:
        """Whether it is still the same user's namespace."""
        home = people.namespace_of(user.name)
        namespace = await self._api("read_namespace", name=home) if home else None
        return namespace is not None and people.hub_name(namespace) == user.name

    async def _api(self, call: str, **words: str) -> dict[str, Any] | None:
        """What the API says, as it writes it; None for what is not there, or not the hub's to see."""
        load_config()
        client = shared_client("CoreV1Api")
        try:
            found = await getattr(client, call)(**words)
        except ApiException as error:
            if error.status in (403, 404):
                return None
            raise
        written: dict[str, Any] = client.api_client.sanitize_for_serialization(found)
        return written


class Notebooks(KubeSpawner):  # type: ignore[misc]
    """KubeSpawner takes one namespace for all; here it is the user's, where the hub has rights to it alone."""

    @default("namespace")  # type: ignore[untyped-decorator]
    def _namespace_default(self) -> str:
        return str(people.namespace_of(self.user.name))

    async def _start_reflector(self, kind: str, reflector_class: type, replace: bool = False, **more: Any) -> Any:
        """One that has given up, as when its namespace went for a time, would show nothing of who comes back."""
        known = self.reflectors.get(self._get_reflector_key(kind))
        ended = bool(known and known.watch_task and known.watch_task.done())
        return await super()._start_reflector(kind, reflector_class, replace=replace or ended, **more)
