"""The difference between what is wanted and what is there."""

from arena_install.plan.catalogue import Role, load_roles
from arena_install.plan.model import ComponentAction, Plan, Reason, RoleAction
from arena_install.plan.planner import Item, Record, input_digest, make_plan, reasons

__all__ = [
    "ComponentAction",
    "Item",
    "Plan",
    "Reason",
    "Record",
    "Role",
    "RoleAction",
    "input_digest",
    "load_roles",
    "make_plan",
    "reasons",
]
