"""Fixes as lines that can be copied into a shell here: the way to each host, and this cluster's own options."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from arena_install.diagnosis.model import Fix
from arena_install.inventory.cluster import Host
from arena_install.pipeline.setting import Setting, Wishes

_PLAIN = re.compile(r"[\w./:=@,+ -]+")


class Shell:
    """Lines for one cluster, named on the command line as `wishes` says."""

    def __init__(self, setting: Setting, wishes: Wishes) -> None:
        self._setting, self._wishes = setting, wishes

    def lines(self, fixes: Iterable[Fix]) -> list[str]:
        """In the order given. Before the first kubectl, where it gets its configuration."""
        found: list[str] = []
        for fix in fixes:
            if fix.command.startswith("kubectl ") and not fix.host and not self._kubectl_knows():
                export = f"export KUBECONFIG={_home(self._setting.kubeconfig)}"
                found += [export] if export not in found else []
            found.append(self.line(fix))
        return found

    def line(self, fix: Fix) -> str:
        if fix.sentence:
            return f"on {fix.host}: {fix.command}" if fix.host else fix.command
        if fix.host:
            return self._there(self._setting.cluster.host(fix.host), fix.command)
        return fix.command + self._options() if fix.command.startswith("arena-install ") else fix.command

    def _options(self) -> str:
        """What tells arena-install which cluster is meant."""
        wishes = self._wishes
        words = ["-i", str(wishes.inventory)] if wishes.inventory else []
        words += ["--name", wishes.lab] if not wishes.inventory and wishes.lab != "lab" else []
        words += ["-c", str(wishes.config)] if wishes.config else []
        return "".join(f" {shlex.quote(word)}" for word in words)

    def _there(self, host: Host, command: str) -> str:
        """Run on a host, as root."""
        if host.become and not _PLAIN.fullmatch(command):
            command = f"sudo sh -c {shlex.quote(command)}"
        elif host.become:
            command = f"sudo {command}"
        told = command if _PLAIN.fullmatch(command) else shlex.quote(command)
        if self._wishes.inventory is None:
            return f"arena-install lab shell {self._wishes.lab} {host.name} {told}"
        if host.connection == "local":
            return command
        words = ["ssh", *host.ssh_args]
        words += ["-t"] if host.become_password else []
        words += ["-p", str(host.port)] if host.port != 22 else []
        words += ["-i", str(host.key_file)] if host.key_file else []
        return f"{shlex.join([*words, f'{host.user}@{host.address}' if host.user else host.address])} {told}"

    def _kubectl_knows(self) -> bool:
        named = os.environ.get("KUBECONFIG", "")
        return bool(named) and Path(named).expanduser().absolute() == self._setting.kubeconfig.absolute()


def _home(path: Path) -> str:
    text, home = shlex.quote(str(path)), str(Path.home())
    return "~" + text.removeprefix(home) if text.startswith(home + "/") else text
