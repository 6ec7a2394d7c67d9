"""`up`, `down` and `list` of labs made of podman containers. Each can be killed at any point and called again.

Order is what makes that so: what is wanted is written down first, every object carries the lab's label, and each step
looks at what is there before it makes anything.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from arena_install.errors import ArenaError, ConfigError, ErrorGroup, StepError
from arena_install.events import Emit, Event, step
from arena_install.inventory.config import Lab
from arena_install.lab import files, hosts, image, network, podman
from arena_install.lab.lock import locked
from arena_install.lab.model import Access, LabHost, LabInfo, check_name, folder, joined, saved, wanted_hosts
from arena_install.paths import state_home

#: Least free space for the lab itself (a cluster on it takes more): bytes of disk and of memory per new host.
DISK_PER_HOST = 1 << 30
MEMORY_PER_HOST = 256 << 20
INOTIFY_INSTANCES = 1024
DISK_FOR_IMAGE = 2 << 30
_PARALLEL = 4  # podman takes a lock for most of what it does; more only waits longer

_T = TypeVar("_T")
_R = TypeVar("_R")


def up(name: str, topology: Lab, emit: Emit, *, access: Access | None = None) -> LabInfo:
    """Make the lab, or complete and start it; returns when every host answers over SSH with its pinned key.

    A larger topology adds hosts; hosts beyond a smaller one stay, with a warning. access None: as the lab has it, root
    by key for a new one; an existing lab keeps the access it was made with (ConfigError if another is asked for).
    Raises ConfigError, StepError, TimedOutError, or an ErrorGroup of several hosts'.
    """
    check_name(name)
    podman.require()
    wish = access.checked() if access else None
    with locked(name):
        known = _known(name)
        if known and wish and known.hosts and known.access != wish:
            raise ConfigError(
                f"lab {name} was made with another user, port or jump host, which can't be changed",
                fix=f"arena-install lab down {name}",
            )
        lab = _with_network(name, topology, known, wish or (known.access if known else Access()), emit)
        _warn_of_extra(lab, topology, emit)
        present = {row["Names"][0] for row in podman.containers(name)}
        missing = sum(host.name not in present for host in lab.hosts)
        _require_room(missing, emit)
        tag = image.ensure(emit) if missing else ""
        public_key = files.key_pair(lab)
        words = files.passwords(lab)

        def ready(host: LabHost) -> hosts.Ready:
            with step(emit, f"lab/{host.name}") as now:
                made = hosts.make_ready(lab, host, tag, public_key, words.get(host.name, ""), now)
                if made.did:
                    now.end("changed", ", ".join(made.did) + f", {host.address}")
            if made.failed_units:
                emit(Event("warning", f"lab/{host.name}", f"{host.name}: failed units: {', '.join(made.failed_units)}"))
            return made

        done = _each(ready, lab.hosts)
        files.write_access(lab, {one.host.name: one.host_key for one in done})
        with step(emit, "lab/ssh", "logging in to every host"):
            _each(lambda host: hosts.wait_for_ssh(lab, host), lab.hosts)
        return _with_status(lab)


def down(name: str, emit: Emit) -> bool:
    """Remove the lab's containers, volumes, network, keys and state, also of a lab half made; False if there was none.

    The host image stays for the next lab (see image.remove_unused). Raises StepError for what could not be removed.
    """
    check_name(name)
    podman.require()
    if not folder(name).exists() and not _objects_of(name):
        return False
    with locked(name), step(emit, f"lab/{name}", "removing") as now:
        known = saved(name)
        rows = podman.containers(name)
        names = [row["Names"][0] for row in rows] + [host.name for host in (known.hosts if known else ())]
        groups = _cgroups([str(row["Id"]) for row in rows])
        now.progress(f"removing {len(rows)} hosts")
        _each(_remove_container, list(dict.fromkeys(names)))
        for path in groups:
            _remove_cgroup(path)
        for volume in podman.volumes(name):
            podman.attempt("volume", "rm", "--force", volume)
        for net in podman.networks(name):
            podman.attempt("network", "rm", "--force", str(net["name"]))
        if left := _objects_of(name):
            raise StepError(f"some of lab {name} could not be removed", why=", ".join(left))
        shutil.rmtree(folder(name))
        now.end("changed", f"{len(rows)} hosts removed")
    with suppress(OSError):
        (state_home() / "labs").rmdir()  # only when it was the last
    return True


def belongings(name: str) -> list[str]:
    """What `down` would remove, in words; nothing for a lab that is not there. Reads only."""
    check_name(name)
    podman.require()
    return _objects_of(name) + ([str(folder(name))] if folder(name).exists() else [])


def list_labs() -> tuple[LabInfo, ...]:
    """Every lab on this machine, also one whose state folder or whose containers are gone, with each host's status."""
    podman.require()
    names = {str(row["Labels"][podman.LABEL]) for row in podman.containers()}
    names |= {str(net["labels"][podman.LABEL]) for net in podman.networks()}
    names |= {path.parent.name for path in (state_home() / "labs").glob("*/lab.json")}
    return tuple(_with_status(_known(name) or LabInfo(name, "", ())) for name in sorted(names))


def find(name: str) -> LabInfo:
    """That lab, with each host's status. Raises ConfigError if there is none."""
    podman.require()
    known = _known(check_name(name))
    if known is None:
        raise ConfigError(f"there is no lab named {name}", fix=f"arena-install lab up {name}")
    return _with_status(known)


def shell_command(name: str, host: str, command: Sequence[str] = ()) -> list[str]:
    """argv of an ssh that logs in to that host ("dev-w1" or "w1"), with the lab's key and pinned host key."""
    lab = saved(name)
    if lab is None or not (lab.folder / "ssh_config").exists():
        raise ConfigError(f"there is no lab named {name}, or it is not finished", fix=f"arena-install lab up {name}")
    return [*hosts.ssh_command(lab, lab.host(host)), *(("--", *command) if command else ())]


def _known(name: str) -> LabInfo | None:
    """As the state folder says, else as the labels of what runs say; None for a lab that does not exist."""
    if lab := saved(name):
        return lab
    found, access = [], Access()
    for row in podman.containers(name):
        about = json.loads(row["Labels"].get(hosts.HOST_LABEL, "{}"))
        if about:
            found.append(LabHost(row["Names"][0], about["role"], about["address"]))
            access = Access(**about["access"])
    subnet = network.subnet_of(name)
    return joined(LabInfo(name, subnet, (), access), tuple(found)) if subnet else None


def _with_network(name: str, topology: Lab, known: LabInfo | None, access: Access, emit: Emit) -> LabInfo:
    """The lab as it is to be, saved, with its network made."""
    with step(emit, "lab/network", "choosing a subnet") as now:
        taken = None
        for _ in range(8):
            subnet = known.subnet if known and known.subnet else ""
            if not subnet:
                taken = network.taken_subnets() if taken is None else taken
                subnet = str(network.choose_subnet(taken))
            before = LabInfo(name, subnet, known.hosts if known else (), access)
            lab = joined(before, wanted_hosts(name, topology, subnet))
            existed = podman.exists("network", lab.network)
            files.save(lab)
            if network.create(lab):
                if not existed:
                    now.end("changed", f"{lab.subnet}, MTU {network.uplink_mtu()}")
                return lab
            if known and podman.containers(name):
                raise StepError(
                    f"lab {name} had the network {subnet}, which something else uses now",
                    fix=f"arena-install lab down {name}",
                )
            known, taken = None, None  # taken since it was chosen, or between two runs
        raise StepError("no subnet could be had for the lab: others took each that was chosen", fix="try again")


def _warn_of_extra(lab: LabInfo, topology: Lab, emit: Emit) -> None:
    wanted = {host.name for host in wanted_hosts(lab.name, topology, lab.subnet)}
    if extra := [host.name for host in lab.hosts if host.name not in wanted]:
        text = f"lab {lab.name} has more hosts than asked for, which stay: {', '.join(extra)}"
        emit(Event("warning", "lab/network", text))


def _with_status(lab: LabInfo) -> LabInfo:
    states = {row["Names"][0]: str(row["State"]) for row in podman.containers(lab.name)}
    return replace(lab, hosts=tuple(replace(host, status=states.get(host.name, "missing")) for host in lab.hosts))


def _require_room(new_hosts: int, emit: Emit) -> None:
    if not new_hosts:
        return
    _raise_inotify(emit)
    root = podman.run("info", "--format", "{{.Store.GraphRoot}}").strip()
    disk = DISK_PER_HOST * new_hosts + (0 if podman.exists("image", image.tag()) else DISK_FOR_IMAGE)
    free = shutil.disk_usage(root).free
    if free < disk:
        raise StepError(
            f"{new_hosts} hosts need {disk >> 30} GiB of disk, {free / (1 << 30):.1f} are free", where=root,
            fix="free some: podman image prune, or delete the cache of arena-install",
        )
    memory = next(int(line.split()[1]) << 10 for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemAvailable"))
    if memory < MEMORY_PER_HOST * new_hosts:
        raise StepError(
            f"{new_hosts} hosts need {MEMORY_PER_HOST * new_hosts >> 20} MiB of memory, {memory >> 20} are available",
            fix="ask for fewer workers",
        )


def _raise_inotify(emit: Emit) -> None:
    """All hosts share this kernel's bound on root's inotify instances; at 128, containerd on the last hosts of several
    labs loads without its CRI part. It is the machine's own setting and lasts until it restarts, so it is said.
    """
    file = Path("/proc/sys/fs/inotify/max_user_instances")
    now = int(file.read_text())
    if now >= INOTIFY_INSTANCES:
        return
    try:
        file.write_text(f"{INOTIFY_INSTANCES}\n")
        said = f"raised from {now} to {INOTIFY_INSTANCES}"
    except OSError as error:
        said = f"is {now} and can't be raised: {error}"
    emit(Event("warning", "lab/host kernel", f"fs.inotify.max_user_instances {said}"))


def _each(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """Work on all, some at a time, results in order; every one gets its chance, then errors are raised together.

    In daemon threads: an interrupt ends the program at once instead of waiting for hosts that boot.
    """
    results: dict[int, _R] = {}
    errors: dict[int, BaseException] = {}
    waiting = deque(enumerate(items))

    def drain() -> None:
        while True:
            try:
                number, item = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = work(item)
            except BaseException as error:
                errors[number] = error

    threads = [threading.Thread(target=drain, daemon=True) for _ in range(min(_PARALLEL, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(timeout=0.2)
    raised = [errors[number] for number in sorted(errors)]
    known = [error for error in raised if isinstance(error, ArenaError)]
    if len(known) < len(raised):
        raise next(error for error in raised if not isinstance(error, ArenaError))
    if known:
        raise known[0] if len(known) == 1 else ErrorGroup(known)
    return [results[number] for number in sorted(results)]


def _remove_container(name: str) -> None:
    podman.attempt("rm", "--force", "--time", "0", "--volumes", name)
    podman.attempt("rm", "--force", "--storage", name)  # what a create that was killed leaves


def _objects_of(name: str) -> list[str]:
    return [
        *(f"container {row['Names'][0]}" for row in podman.containers(name)),
        *(f"network {net['name']}" for net in podman.networks(name)),
        *(f"volume {volume}" for volume in podman.volumes(name)),
    ]


def _cgroups(ids: Sequence[str]) -> list[Path]:
    """cgroup folders of those containers; a runtime may leave the ones that a host's own systemd made below them."""
    root = Path("/sys/fs/cgroup")
    tops = [root] if podman.cgroup_v2() else [top for top in root.iterdir() if top.is_dir() and not top.is_symlink()]
    places = [place for top in tops for id_ in ids for place in (*top.glob(f"*/*{id_}*"), *top.glob(f"*{id_}*"))]
    return [place for place in places if place.is_dir()]


def _remove_cgroup(path: Path) -> None:
    for folder_, _, _ in os.walk(path, topdown=False):
        with suppress(OSError):
            Path(folder_).rmdir()
