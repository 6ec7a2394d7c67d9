"""What one fault is: the typed content of an entry in a *.yaml file of this folder.

    gpu-lost:
      title: One GPU of a worker falls off the bus
      "on": gpu                # first host of this inventory group; `each gpu` for all of them
      inject: gpusim set gpu=1 fault=lost
      mend: gpusim clear
      fails: [gpu.health]

inject, mend, shows and gone are POSIX sh, run by root on the host under `set -eu`, with LAB (the lab's name), KEPT (a
folder on the host where inject may keep what mend puts back; gone once the fault is mended) and, on a control plane,
KUBECONFIG. inject and mend may run twice, and mend whatever a killed inject has left.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from arena_install.errors import ConfigError
from arena_install.inventory import yamlfile
from arena_install.inventory.source import NOWHERE, Source
from arena_install.suggest import did_you_mean

_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_CHECK = r"^[a-z0-9-]+\.[a-z0-9-]+$"


class Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_NAME)
    suite: str  # name of the file that it is in
    title: str = Field(min_length=1)
    on: str = Field(pattern=r"^(each )?(control_plane|worker|gpu|registry|nfs_server|load_balancer)$")
    inject: str = Field(min_length=1)
    mend: str = Field(min_length=1)
    shows: str = ""  # ends 0 once the effect is there
    gone: str = ""  # ends 0 once it is gone
    fails: tuple[str, ...] = ()  # checks that must fail; none for what doctor alone sees
    also: tuple[str, ...] = ()  # checks that fail or are skipped beside those that need one of `fails`
    may: tuple[str, ...] = ()  # checks that fail too or do not, by where pods happen to be
    doctor: str = ""  # what doctor's first cause must contain; "" where doctor can't see it
    source: Source = NOWHERE

    @model_validator(mode="after")
    def _is_seen(self) -> Fault:
        if not self.fails and not self.doctor:
            raise ValueError("name the checks that fail under it, or what doctor says of it")
        return self

    @property
    def group(self) -> str:
        return self.on.removeprefix("each ")

    @property
    def everywhere(self) -> bool:
        """Whether it is for every host of the group, not the first alone."""
        return self.on.startswith("each ")


@cache
def load(folder: Path = Path(__file__).parent) -> dict[str, Fault]:
    """Every fault by name, file by file. Raises ConfigError with file:line."""
    found: dict[str, Fault] = {}
    for file in sorted(folder.glob("*.yaml")):
        for fault in _read(file):
            if fault.name in found:
                raise ConfigError(
                    f"two faults are called {fault.name}",
                    where=str(fault.source),
                    why=f"the other is in {found[fault.name].source}",
                )
            found[fault.name] = fault
    return found


def find(name: str) -> Fault:
    """Raises ConfigError, with the name that was probably meant."""
    known = load()
    if name not in known:
        raise ConfigError(
            f"there is no fault named {name}", why=did_you_mean(name, known), fix="arena-install lab fault lists them"
        )
    return known[name]


def _read(file: Path) -> list[Fault]:
    document = yamlfile.read(file, "a file of faults")
    if document.errors:
        raise document.errors[0]
    if not isinstance(document.data, dict):
        raise ConfigError("a file of faults is a mapping of names to faults", where=f"{file}:1")
    return [_fault(document, file.stem, name, row) for name, row in document.data.items()]


def _fault(document: yamlfile.Document, suite: str, name: str, row: object) -> Fault:
    source = document.source((name,))
    if not isinstance(row, dict):
        raise ConfigError(f"fault {name} is a mapping, this is a {type(row).__name__}", where=str(source))
    try:
        fault = Fault.model_validate({**row, "name": name, "suite": suite, "source": source})
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(part for part in first["loc"] if isinstance(part, (str, int)))
        raise ConfigError(
            f"fault {name}: {yamlfile.dotted(path)}: {first['msg']}", where=str(document.source((name, *path)))
        ) from error
    for key in ("fails", "also", "may"):
        for index, id in enumerate(getattr(fault, key)):
            if not re.match(_CHECK, id):
                where = str(document.source((name, key, index)))
                raise ConfigError(f"fault {name}: {id!r} is not the id of a check, <suite>.<name>", where=where)
    return fault
