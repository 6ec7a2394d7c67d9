"""What every command that asks the cluster begins with: settings, the kubeconfig, the namespace, a client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from arena_cli import fields, settings
from arena_cli.flags import Given
from arena_cli.kube import config
from arena_cli.kube.client import Client


@dataclass
class Session:
    """Nothing is read until it is asked for."""

    given: Given

    @cached_property
    def settings(self) -> settings.Settings:
        return settings.load()

    @cached_property
    def client(self) -> Client:
        return Client(self._access, debug=self.given.text("loglevel") == "debug")

    @cached_property
    def _access(self) -> config.Access:
        return config.load(self.given.text("config"))

    @cached_property
    def namespace(self) -> str:
        """The flag's, arena's configuration's, the kubeconfig's, or default."""
        named = self.given.text("namespace") or self.settings.namespace
        return fields.namespace(named or self._access.namespace or "default")

    @property
    def namespace_offline(self) -> str:
        """For a dry run: a kubeconfig is taken if there is one."""
        from arena_install.errors import ArenaError

        try:
            return self.namespace
        except ArenaError:
            return fields.namespace(self.given.text("namespace") or self.settings.namespace or "default")

    @property
    def scope(self) -> str:
        """ "" under --all-namespaces."""
        everywhere = self.given.has("all-namespaces") and self.given.on("all-namespaces")
        return "" if everywhere else self.namespace
