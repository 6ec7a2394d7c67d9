"""What a diagnosis says: causes in the order of the chain, what follows from each, and what mends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

View = TypeVar("View")


@dataclass(frozen=True)
class Fix:
    """A line for a shell, or a sentence where no command does it. host: where, "" for here."""

    command: str
    host: str = ""
    sentence: bool = False


@dataclass(frozen=True)
class Broken:
    """One link that does not hold. what: the same words wherever it is the same; seen: the evidence, as it was read."""

    what: str
    seen: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Link(Generic[View]):
    """One link of a chain. needs: the links without which this one can't hold, and so says nothing."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[View], Broken | None]


@dataclass(frozen=True)
class Cause:
    """The first broken link of one or more hosts. hosts: () where it is the cluster's own. follows: what was seen to be
    broken and may well be so because of it."""

    link: str
    hosts: tuple[str, ...]
    what: str
    seen: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    follows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """Worth knowing, breaks nothing now. hosts: () for the cluster."""

    hosts: tuple[str, ...]
    text: str
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Counts:
    """What was looked at. A part of the cluster that could not be asked counts 0."""

    hosts: int = 0
    reached: int = 0
    nodes: int = 0
    ready: int = 0
    gpus: int = 0
    allocatable: int = 0
    simulated: bool = False
    pods: int = 0
    pods_ready: int = 0
    components: int = 0
    dns: int = 0  # addresses at which DNS answers
    certificates_until: float | None = None  # Unix seconds at which the first certificate expires


@dataclass(frozen=True)
class Diagnosis:
    cluster: str
    causes: tuple[Cause, ...] = ()
    notes: tuple[Note, ...] = ()
    counts: Counts = field(default_factory=Counts)
    unreachable: bool = False  # a host, or the API without a cause that was found on its host

    @property
    def exit_code(self) -> int:
        return 3 if self.unreachable else 1 if self.causes else 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"exit_code": self.exit_code}


def walk(chain: Sequence[Link[View]], view: View) -> list[tuple[str, Broken, list[tuple[str, Broken]]]]:
    """(link, what is broken, the broken links that need it) for each link that is broken by itself, in order."""
    broken = {link.name: found for link in chain if (found := link.look(view))}
    needs = {link.name: link.needs for link in chain}
    roots: dict[str, list[tuple[str, Broken]]] = {}
    for name, found in broken.items():
        cause = next((other for other in broken if other in _all_needs(name, needs)), None)
        if cause is None:
            roots[name] = []
        else:
            roots.setdefault(cause, []).append((name, found))
    return [(name, broken[name], roots[name]) for name in broken if name in roots]


def _all_needs(name: str, needs: Mapping[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    left = list(needs[name])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += needs.get(one, ())
    return found
