"""The controller's own Debian sources, read when they are needed: no mirror's name stands in any file of ours.

Both of apt's formats are read (sources.list(5)). Only the Debian archive's entries count: those for another vendor are
left out, because their packages have no place in a minimal root and their keys are not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arena_install.errors import ConfigError

#: Codenames and moving names under which a Debian archive is offered; "/updates" is the old form of "-security".
RELEASES = frozenset({
    "buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
    "unstable", "testing", "stable", "oldstable", "oldoldstable",
})
_ROLLING = frozenset({"sid", "unstable"})
_POCKETS = ("-updates", "-security", "/updates")
_KEYRING = "debian-archive"
_LINE = re.compile(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>.*)$")
#: A file of sources to use instead of the system's (either format), for controllers that are not Debian themselves.
OVERRIDE = "ARENA_INSTALL_APT_SOURCES"


@dataclass(frozen=True)
class AptSource:
    """One archive line. options: deb822 names in lower case with dashes, e.g. "signed-by"."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    def option(self, name: str) -> str:
        return dict(self.options).get(name, "")

    def line(self) -> str:
        """In the one-line format."""
        options = " ".join(f"{name}={','.join(value.split())}" for name, value in self.options)
        return " ".join(["deb", *([f"[{options}]"] if options else []), self.uri, self.suite, *self.components])


def read_sources(root: Path = Path("/etc/apt")) -> tuple[AptSource, ...]:
    """Every enabled binary entry below `root` (sources.list, sources.list.d/*.list and *.sources), in apt's order.

    Raises ConfigError with file and line where an entry can't be read.
    """
    found: list[AptSource] = []
    parts = root / "sources.list.d"
    for path in [root / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else [])]:
        if path.is_file() and path.suffix in (".list", ".sources"):
            found += read_file(path)
    return tuple(found)


def read_file(path: Path) -> tuple[AptSource, ...]:
    """The enabled binary entries of one file; deb822 if its name says so or it looks like it."""
    text = path.read_text(errors="replace")
    deb822 = path.suffix == ".sources" or re.search(r"^Types\s*:", text, re.MULTILINE | re.IGNORECASE)
    return tuple(_deb822(text, path) if deb822 else _one_line(text, path))


def debian_sources(suite: str, root: Path = Path("/etc/apt")) -> tuple[AptSource, ...]:
    """The controller's Debian entries, for `suite` ("trixie") instead of the release that they name; no two alike.

    Updates and security are there if the controller has them; backports never. The override file named by
    ARENA_INSTALL_APT_SOURCES takes the place of the system's. Raises ConfigError if nothing is left.
    """
    override = os.environ.get(OVERRIDE)
    if override and not Path(override).is_file():
        raise ConfigError(f"{OVERRIDE} names a file that is not there", where=override)
    entries = read_file(Path(override)) if override else read_sources(root)
    chosen = dict.fromkeys(new for entry in entries if _is_debian(entry) for new in _moved(entry, suite, root))
    if not any(source.suite == suite for source in chosen):
        raise ConfigError(
            f"no apt source of the Debian archive was found, so no Debian {suite} root can be made",
            where=override or str(root),
            why="root file systems come from the same Debian mirror that this machine itself uses",
            fix=f"write a line `deb MIRROR {suite} main` to a file and name it: export {OVERRIDE}=FILE",
        )
    return tuple(chosen)


def _is_debian(source: AptSource) -> bool:
    release, _ = _split(source.suite)
    key = source.option("signed-by")
    return (
        release in RELEASES
        and "main" in source.components
        and (not key or _KEYRING in key or "BEGIN PGP" in key)
        and not source.uri.startswith("cdrom:")
    )


def _split(suite: str) -> tuple[str, str]:
    """("trixie", "-security"); an unknown pocket such as -backports stays in the first part."""
    for pocket in _POCKETS:
        if suite.endswith(pocket):
            return suite.removesuffix(pocket), pocket
    return suite, ""


def _moved(source: AptSource, suite: str, root: Path) -> Iterator[AptSource]:
    _, pocket = _split(source.suite)
    if pocket and suite in _ROLLING:
        return
    new = suite + {"/updates": "-security"}.get(pocket, pocket)
    components = tuple(name for name in source.components if name == "main")
    # An embedded key or one of this release only does not travel; the archive keyring's file does.
    key = source.option("signed-by")
    options = [("signed-by", key)] if key.startswith("/") and Path(key).exists() else []
    if (trusted := source.option("trusted").lower()) in ("yes", "true"):
        options.append(("trusted", trusted))
    for uri in _mirrors(source.uri, root):
        yield AptSource(uri.rstrip("/"), new, components, tuple(options))


def _mirrors(uri: str, root: Path) -> Iterator[str]:
    """mirror+file: (what Debian's cloud images use) names a list on this machine, which is not there in a new root."""
    if not uri.startswith("mirror+file:"):
        yield uri
        return
    path = Path(re.sub(r"^mirror\+file:/*", "/", uri))
    if root != Path("/etc/apt") and not path.exists():
        path = root / "mirrors" / path.name
    for line in path.read_text().splitlines() if path.is_file() else ():
        if (words := line.split()) and not words[0].startswith("#"):
            yield words[0]
            return


def _one_line(text: str, path: Path) -> Iterator[AptSource]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0]
        if not words.split() or words.split()[0] != "deb":
            continue
        match = _LINE.match(words)
        if not match:
            raise ConfigError("can't read this apt source", where=f"{path}:{number}", why=line.strip())
        options = (item.partition("=") for item in (match["options"] or "").split())
        yield AptSource(
            match["uri"], match["suite"], tuple(match["components"].split()),
            tuple((name.lower(), value.replace(",", " ")) for name, _, value in options),
        )


def _deb822(text: str, path: Path) -> Iterator[AptSource]:
    for number, fields in _paragraphs(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        missing = [name for name in ("uris", "suites") if not fields.get(name)]
        if missing:
            raise ConfigError(f"this apt source has no {missing[0].title()}", where=f"{path}:{number}")
        yield from _expand(fields)


def _expand(fields: Mapping[str, str]) -> Iterable[AptSource]:
    rest = tuple((name, fields[name]) for name in ("signed-by", "trusted", "architectures") if fields.get(name))
    for uri in fields["uris"].split():
        for suite in fields["suites"].split():
            yield AptSource(uri, suite, tuple(fields.get("components", "").split()), rest)


def _paragraphs(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of the first line, field -> value) of every deb822 paragraph; comments are dropped, as apt drops them."""
    fields: dict[str, str] = {}
    first, name = 0, ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield first, fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            fields[name] = f"{fields[name]}\n{line.strip()}".strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            first = first if fields else number
            fields[name] = value.strip()
