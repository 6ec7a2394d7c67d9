"""`ansible-inventory --list`, and the variables that we act on with templates rendered and vault values decrypted.

Run by ansible.py as a process of its own: `reader.py KEYS -i INVENTORY --list`, KEYS comma-separated. Ansible's own
listing leaves both as they are; its `ansible` would resolve them after a second start and with a fork for each host.
"""

# Ansible carries few types.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import sys
from typing import Any

from ansible.cli.inventory import InventoryCLI
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.template import Templar
from ansible.vars.hostvars import HostVars


class Reader(InventoryCLI):
    """keys: names of the variables to resolve."""

    keys: tuple[str, ...] = ()

    def json_inventory(self, top: Any) -> dict[str, Any]:
        """The listing, with `_meta.resolved` and `_meta.failed`: host -> variable -> value, or why it has none."""
        listing: dict[str, Any] = super().json_inventory(top)
        inventory, manager, loader = self._parts()
        HostVars(inventory, manager, loader)  # now templates see `hostvars`
        for host in inventory.get_hosts():
            variables = manager.get_vars(host=host)
            templar = Templar(loader, variables)
            for key in self.keys:
                if not _is_open(value := variables.get(key)):
                    continue
                try:
                    settled = str(value) if isinstance(value, EncryptedString) else templar.template(value)
                    # Plain JSON: a value that came out of a vault would be encrypted again by the listing's encoder.
                    _of(listing, "resolved", host.name)[key] = json.loads(json.dumps(settled, default=str))
                except AnsibleError as error:
                    _of(listing, "failed", host.name)[key] = str(error)
        return listing

    def _parts(self) -> tuple[Any, Any, Any]:
        return self.inventory, self.vm, self.loader


def _is_open(value: Any) -> bool:
    return isinstance(value, EncryptedString) or (isinstance(value, str) and ("{{" in value or "{%" in value))


def _of(listing: dict[str, Any], kind: str, host: str) -> dict[str, Any]:
    found: dict[str, Any] = listing["_meta"].setdefault(kind, {}).setdefault(host, {})
    return found


if __name__ == "__main__":
    Reader.keys = tuple(sys.argv.pop(1).split(","))
    Reader.cli_executor()
