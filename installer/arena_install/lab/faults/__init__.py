"""Faults: what can be broken in a lab on purpose, and mended again. Each shows that a check can fail, and how.

A fault is data: an entry of a *.yaml file beside this one (see arena_install.lab.faults.model).
"""

from arena_install.lab.faults.engine import Active, active, inject, mend, mend_all
from arena_install.lab.faults.model import Fault, find, load

__all__ = ["Active", "Fault", "active", "find", "inject", "load", "mend", "mend_all"]
