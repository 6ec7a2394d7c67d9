"""The difference between what is wanted and what is there."""

from arena_install.plan.catalogue import Role, load_roles
from arena_install.plan.model import ComponentAction, Plan, Reason, RoleAction
from arena_install.plan.planner import Item, Record, input_digest, make_plan, reasons
from arena_install.plan.removal import ComponentRemoval, HostRemoval, Removal, Thing, named_hosts, remove_hosts

__all__ = [
    "ComponentAction",
    "ComponentRemoval",
    "HostRemoval",
    "Item",
    "Plan",
    "Reason",
    "Record",
    "Removal",
    "Role",
    "RoleAction",
    "Thing",
    "input_digest",
    "load_roles",
    "make_plan",
    "named_hosts",
    "reasons",
    "remove_hosts",
]
