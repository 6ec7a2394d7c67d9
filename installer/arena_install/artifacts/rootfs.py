"""Debian root file systems for hosts of a lab and for images, made by mmdebstrap from the controller's own mirror.

mmdebstrap mounts /proc, /sys and device nodes into the root it makes. It runs in a mount and PID namespace of its own
that dies with us (parent-death signal), so that even `kill -9` leaves neither a mount nor a process behind; the
unfinished folder is swept by the next build.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from arena_install.artifacts.apt_sources import debian_sources
from arena_install.artifacts.child import stoppable
from arena_install.errors import ArenaError, StepError, TimedOutError
from arena_install.events import Emit, Step, step
from arena_install.paths import cache_dir

#: Seconds for one root; an image with PyTorch takes about four minutes on two busy cores.
TIMEOUT = 2400
#: Bytes of .deb files kept between builds; the oldest go first.
DEB_CACHE_LIMIT = 3 << 30
#: Never wanted on a machine that nobody reads manuals on. Licences (copyright files) stay.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*", "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/lintian/*", "path-exclude=/usr/share/groff/*",
)
_APT_OPTIONS = (
    'APT::Install-Recommends "false";', 'Acquire::Languages "none";', 'Acquire::Retries "3";', 'Dpkg::Use-Pty "0";'
)
#: What the controller's own apt needs to reach its mirror; anything else of its configuration stays out.
_INHERITED = ("Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
#: Lines of mmdebstrap that tell people where it is; the others are about its own temporary folders.
_STAGES = tuple(f"I: {verb}" for verb in ("running apt-get", "downloading", "extracting", "installing", "creating"))


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class RootfsInfo:
    """path: the tar. size: its bytes. packages: what dpkg says is installed, sorted by name."""

    path: Path
    size: int
    packages: tuple[Package, ...]

    def version(self, name: str) -> str:
        """Debian version of an installed package. Raises KeyError."""
        return {package.name: package.version for package in self.packages}[name]


def build_rootfs(
    suite: str,
    packages: Sequence[str],
    out: Path,
    emit: Emit,
    *,
    variant: str = "minbase",
    setup: Sequence[str] = (),
    download_only: Sequence[str] = (),
    step_name: str = "",
) -> RootfsInfo:
    """Write a tar of a Debian root to `out` (atomically) and say what is in it.

    suite: "trixie", "bookworm"... variant: mmdebstrap's. setup: shell commands run in the root at the end, `sh -eu`.
    download_only: packages whose .debs, dependencies too, are left in /var/cache/apt/archives, with apt's lists and
    sources, so that a later `apt-get install` there needs no network; without it the root keeps neither, nor the
    mirror's name. step_name: id of the step that is reported, default "artifacts/rootfs-NAME".
    Raises ConfigError without a usable Debian source, StepError when mmdebstrap is missing or fails, TimedOutError.
    """
    name = step_name or f"artifacts/rootfs-{out.name}"
    with step(emit, name, f"Debian {suite} with {len(packages)} packages") as now:
        _require_tools()
        sources = "".join(source.line() + "\n" for source in debian_sources(suite))
        _sweep()
        out.parent.mkdir(parents=True, exist_ok=True)
        with _work_folder() as work, _no_leftovers(out.with_name(f".{out.name}.part")) as part:
            (work / "sources.list").write_text(sources)
            (work / "apt.conf").write_text("\n".join((*_APT_OPTIONS, *_inherited_options())) + "\n")
            (work / "hook").write_text(_hook(work, setup, download_only))
            log = _run(_command(suite, variant, packages, work, part, bool(download_only)), work, now)
            rows = (work / "packages").read_text().splitlines() if (work / "packages").exists() else []
            if not rows:
                raise StepError(f"mmdebstrap made no Debian {suite} root", why="\n".join(log[-15:]))
            installed = tuple(sorted((Package(*row.split("\t")) for row in rows), key=lambda item: item.name))
            part.replace(out)
        _bound_deb_cache()
        size = out.stat().st_size
        now.end("changed", f"{len(installed)} packages, {size >> 20} MiB")
        return RootfsInfo(out, size, installed)


def _require_tools() -> None:
    if os.geteuid() != 0:
        raise StepError(
            "a Debian root can't be made without root's rights",
            why="it holds files of many owners, and mmdebstrap mounts /proc and /dev into it",
            fix="run the same command with sudo",
        )
    needed = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "setpriv": "util-linux", "gpg": "gpg"}
    if missing := sorted({package for tool, package in needed.items() if not shutil.which(tool)}):
        raise StepError(
            f"{' and '.join(missing)} not installed on this machine, needed to make a Debian root",
            fix=f"apt-get install --yes {' '.join(missing)} debian-archive-keyring",
        )


def _command(suite: str, variant: str, packages: Sequence[str], work: Path, part: Path, keep_apt: bool) -> list[str]:
    debs = _deb_cache()
    link = f"find {shlex.quote(str(debs))} -name '*.deb' -exec ln -f -t \"$1/var/cache/apt/archives/\" {{}} +"
    skip = ["essential/unlink", "download/empty", "output/dev"]
    return [
        # In a PID namespace of its own nothing outlives unshare, and unshare does not outlive us.
        "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
        "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=tar",
        f"--include={','.join(packages)}",
        f"--aptopt={work / 'apt.conf'}",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        f"--skip={','.join(skip + (['cleanup/apt'] if keep_apt else []))}",
        f"--setup-hook=mkdir -p \"$1/var/cache/apt/archives/\" && {link}",
        f'--customize-hook=sh -eu {shlex.quote(str(work / "hook"))} "$1"',
        suite, str(part), str(work / "sources.list"),
    ]


def _hook(work: Path, setup: Sequence[str], download_only: Sequence[str]) -> str:
    """Shell run outside the root with the root's path as $1: keep the .debs, set up, list what is installed."""
    archives = '"$1/var/cache/apt/archives"'
    lines = [f"find {archives} -name '*.deb' -links 1 -exec ln -f -t {shlex.quote(str(_deb_cache()))} {{}} +"]
    if setup:
        (work / "setup").write_text("\n".join(setup) + "\n")
        lines += [f'cp {shlex.quote(str(work / "setup"))} "$1/tmp/arena-setup"', 'chroot "$1" sh -eu /tmp/arena-setup']
    if download_only:
        names = " ".join(shlex.quote(name) for name in download_only)
        lines += [
            'mkdir -p "$1/tmp/none/partial"',
            # Asked with an empty archive folder, apt names every file that it would need.
            'chroot "$1" apt-get -qq --yes --print-uris -o Dir::Cache::archives=/tmp/none/ install '
            f"{names} | sed -E \"s/^'[^']*' ([^ ]+) .*/\\1/\" > {shlex.quote(str(work / 'wanted'))}",
            f'chroot "$1" apt-get -qq --yes --download-only install {names}',
            f"find {archives} -name '*.deb' -links 1 -exec ln -f -t {shlex.quote(str(_deb_cache()))} {{}} +",
            f"find {archives} -name '*.deb' -printf '%f\\n' | grep -vxFf {shlex.quote(str(work / 'wanted'))} "
            f'| while read -r name; do rm -f {archives}"/$name"; done',
            'rm -f "$1"/var/cache/apt/*.bin',
        ]
    else:
        lines.append('rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/*')
        lines.append('rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"')
    lines.append(
        'chroot "$1" dpkg-query -W -f=\'${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n\' '
        f"| sed -n 's/^installed\\t//p' > {shlex.quote(str(work / 'packages'))}"
    )
    return "\n".join(lines) + "\n"


def _inherited_options() -> list[str]:
    """The controller's proxy and date settings for apt, as configuration lines; they may hold a proxy's password."""
    out = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False).stdout
    return [line for line in out.splitlines() if line.startswith(_INHERITED) and not line.endswith(' "";')]


def _run(command: list[str], work: Path, now: Step) -> list[str]:
    """Run to the end, turning mmdebstrap's "I:" lines into progress; its last lines explain a failure."""
    environment = {**os.environ, "TMPDIR": str(work), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=environment, start_new_session=True,
    )
    late = threading.Event()

    def expire() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(TIMEOUT, expire)
    timer.daemon = True
    timer.start()
    log: list[str] = []
    try:
        assert child.stdout is not None
        with stoppable(child):
            for line in child.stdout:
                if text := line.strip():
                    log.append(text)
                    now.log(text)
                    if text.startswith(_STAGES):
                        now.progress(text[3:].removesuffix("..."))
            code = child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    if late.is_set():
        raise TimedOutError(f"making a Debian root took more than {TIMEOUT} s", why="\n".join(log[-10:]))
    if code != 0:
        raise _failure(code, log)
    return log


def _failure(code: int, log: list[str]) -> ArenaError:
    ended = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with {code}"
    telling = [line for line in log if line.startswith(("E: ", "W: ", "Err:", "dpkg: error"))][-10:]
    tail = log[-12:] if len(telling) < 2 else [*telling, *log[-5:]]
    return StepError(
        f"mmdebstrap ended {ended}", why="\n".join(tail),
        fix="check that this machine's own `apt-get update` works and that its disk is not full, then try again",
    )


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A private folder, locked while in use, on the .deb cache's own file system so that files can be linked."""
    base = cache_dir() / "tmp"
    base.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="rootfs-", dir=base))
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield work
        finally:
            _remove(work)


def _sweep() -> None:
    """Remove what builds that were killed left behind: folders whose lock nobody holds."""
    for work in (cache_dir() / "tmp").glob("rootfs-*"):
        try:
            with (work / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(work)
        except OSError:  # held by another build, or just gone
            continue


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _no_leftovers(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _deb_cache() -> Path:
    path = cache_dir() / "apt"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _bound_deb_cache() -> None:
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in _deb_cache().glob("*.deb"))
    over = sum(size for _, size, _ in files) - DEB_CACHE_LIMIT
    for _, size, path in files:
        if over <= 0:
            return
        path.unlink(missing_ok=True)
        over -= size
