"""The proof: runs checks against a cluster and hands over a report with evidence.

A check says what it expected, what it observed, why it differs and what mends it. What checks make in the cluster
lives in namespaces of the run's own, and is gone afterwards however the run ends.
"""

from arena_install.verify.model import SUITES, Check, Environment, Node, Outcome, Report, Result
from arena_install.verify.run import images_for, run, suites_for

__all__ = [
    "SUITES",
    "Check",
    "Environment",
    "Node",
    "Outcome",
    "Report",
    "Result",
    "images_for",
    "run",
    "suites_for",
]
