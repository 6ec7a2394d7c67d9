"""A Python command of ours as one tar: its package, what it imports of ours, the charts it renders, and its wheels.

Hosts have a Python and nothing else of what we need, and theirs is not the controller's. So pure modules are taken as
they are, and compiled ones for every Python that hosts may have lie side by side: their names say which is whose.

    bin/NAME                          the command, as `/opt/arena-install/NAME/bin/NAME`
    lib/                              modules; lib/arena_install/data/charts where arena_install.paths looks for charts
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from arena_install import paths
from arena_install.artifacts import converters
from arena_install.errors import ConfigError, StepError

_SHARED = "(?:arena_install|arena_cli)"
#: Who imports this, renders charts.
_CHARTS = "arena_cli/charts.py"
_IMPORT = re.compile(
    rf"^[ \t]*(?:from (?P<module>{_SHARED}[\w.]*) import (?P<names>\([^)]*\)|[^\n#]+)"
    rf"|import (?P<plain>{_SHARED}[\w.]*))",
    re.MULTILINE,
)
#: Isolated (-I) and without the host's own packages (-S): what somebody installs there must not change the command.
_LAUNCHER = """\
#!/usr/bin/python3 -IS
import sys

sys.path.insert(0, "/opt/arena-install/{name}/lib")
from {package}.main import run

run()
"""


def pack(package: str, other_charts: Collection[str], wheels: Sequence[Path], out: Path) -> None:
    """Write the tar. other_charts: folders, such as charts/flannel, that are not the command's. wheels: a folder of
    installed modules for each Python. Raises StepError where two of them have another file of one name.
    """
    name = package.removesuffix("_cli")
    content = {
        f"bin/{name}": _LAUNCHER.format(name=name, package=package).encode(),
        **{f"lib/{path}": file.read_bytes() for path, file in sources(package, other_charts).items()},
    }
    for folder in wheels:
        for path, file in converters.modules(folder).items():
            if path.endswith(".dist-info/WHEEL"):  # says for which Python it was
                continue
            data = file.read_bytes()
            if content.setdefault(f"lib/{path}", data) != data:
                raise StepError(f"two wheels have another {path}", why="they can't lie side by side")
    converters.pack(content, out, {f"bin/{name}"})


def digest(package: str, other_charts: Collection[str]) -> str:
    """Hex sha256 over all that is ours in it."""
    found = hashlib.sha256(_LAUNCHER.encode())
    for path, file in sources(package, other_charts).items():
        found.update(f"{path}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def sources(package: str, other_charts: Collection[str]) -> dict[str, Path]:
    """Path below lib/ -> file of ours, sorted. Raises ConfigError where the package is not installed beside us."""
    root = Path(__file__).resolve().parents[2]
    files = (path for path in sorted((root / package).rglob("*")) if path.is_file())
    mine = [path for path in files if "__pycache__" not in path.parts]
    if not mine:
        raise ConfigError(f"there is no package {package}", where=str(root), fix="reinstall arena-install")
    shared = set(mine)
    looked = [path for path in mine if path.suffix == ".py"]
    while looked:
        new = {file for name in _imports(looked.pop()) for file in _files(root, name)} - shared
        shared |= new
        looked += sorted(new)
    found = {path.relative_to(root).as_posix(): path for path in sorted(shared)}
    if _CHARTS not in found:
        return dict(sorted(found.items()))
    charts = paths.data_dir() / "charts"
    for file in sorted(path for path in charts.rglob("*") if path.is_file()):
        parts = file.relative_to(charts).parts
        made = "charts" in parts or parts[-1] == "Chart.lock" or any(part.startswith(".") for part in parts)
        if f"charts/{parts[0]}" not in other_charts and not made:  # made: what `helm dependency build` leaves
            found[f"arena_install/data/charts/{'/'.join(parts)}"] = file
    return dict(sorted(found.items()))


def _imports(file: Path) -> Iterator[str]:
    """Dotted names of the shared packages that a module's imports may mean, also inside functions. Read as text: a plan
    asks for the digest, and parsing took a second."""
    for match in _IMPORT.finditer(file.read_text()):
        module, names = match["module"] or match["plain"], match["names"] or ""
        yield module
        yield from (f"{module}.{name}" for name in re.findall(r"\w+", names))


def _files(root: Path, name: str) -> Iterator[Path]:
    """The file of a module of a shared package, and the packages that it is in."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        folder = root.joinpath(*parts[:length])
        yield from (file for file in (folder / "__init__.py", folder.with_suffix(".py")) if file.is_file())
