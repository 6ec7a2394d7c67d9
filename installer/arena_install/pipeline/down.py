"""`down`: a reverse plan made from the ledgers. Hosts without a ledger of ours are left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from arena_install import paths, probe
from arena_install.apply.ansible import run_playbook
from arena_install.apply.lockfile import exclusive
from arena_install.errors import StepError
from arena_install.events import Emit
from arena_install.pipeline import variables
from arena_install.pipeline.look import refuse
from arena_install.pipeline.setting import Wishes, prepare
from arena_install.probe.facts import HostFacts


def down(wishes: Wishes, emit: Emit, run: Path) -> None:
    """Undo each role that a host's ledger names, on just that host. Raises StepError when no host has a ledger."""
    setting = prepare(wishes)
    with exclusive(setting.state / "lock", emit) as held:
        facts = probe.probe(setting.cluster, emit)
        refuse(facts, emit)
        recorded = {name: set(found.ledger) for name, found in facts.hosts.items() if isinstance(found, HostFacts)}
        if not any(recorded.values()):
            raise StepError(
                "nothing to undo: no host has a ledger of arena-install",
                why="only what the ledgers in /var/lib/arena-install record is known to be ours",
                fix="if these hosts were set up by something else, use that to reset them",
            )
        extra = variables.fleet(setting.cluster, setting.resolved_file, setting.kubeconfig)
        extra["arena_hosts"] = {
            role.name: [name for name, roles in recorded.items() if role.name in roles] for role in setting.roles
        }
        run_playbook(
            setting.cluster,
            "reset.yml",
            extra,
            variables.defaults(setting.cluster),
            run / "ansible",
            emit,
            inherit=(held,),
        )


def forget(cluster: str) -> None:
    """Remove what the controller keeps of a cluster: kubeconfig, resolved lock, run folders."""
    shutil.rmtree(paths.state_home() / "clusters" / cluster, ignore_errors=True)
