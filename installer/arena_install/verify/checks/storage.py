"""Suite storage: what a claim of the default StorageClass gives to an ordinary pod, and that nothing of it stays.

Two pods write and read one volume (storage.claim); the other checks read what these told, so that each promise has a
line of its own in the report. The pods tell it in lines "KEY WORDS...".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import Object, namespaced, segment
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.needs import CONTROL_PLANE, DEFAULT_CLASS
from arena_install.verify.registry import check

_CLAIM_CHECK = "storage.claim"
_CLAIM = "data"
ASKED_MIB = 64
_REMOVAL = 200  # seconds; the provisioner gives a pod that removes a folder 120 of them, and tries again

_LOOK = "kubectl get pods -A | grep provision; kubectl -n local-path-storage logs deployment/local-path-provisioner"

#: The file system's promises, in the order in which the writer tries them.
PROMISES = {
    "fsync": "data are on the disk when fsync returns",
    "rename": "a rename replaces a file at once",
    "flock": "one lock keeps another out, and ends with its holder",
}

#: Everything is tried, whatever failed before: a line that is missing is a finding of its own. No step may hang.
WRITER = r"""
cd /data || exit 0
echo "user $(id -u) $(id -g)"
if ! said=$(touch mine 2>&1); then echo "write denied: $said"; exit 0; fi
echo "write ok"
echo "owner $(stat -c '%u %g' mine)"
: > lock
head -c 4194304 /dev/urandom > random; sync
echo "sha $(sha256sum random | cut -d ' ' -f 1)"
echo "size $(df -kP . | tail -n 1)"
said=$(timeout 20 dd if=random of=synced bs=4096 count=64 conv=fsync 2>&1) && cmp -n 262144 random synced \
    && echo "fsync ok" || echo "fsync failed: $(echo "$said" | tr '\n' ' ')"
mkdir -p other && echo old > name && echo new > other/name && said=$(mv other/name name 2>&1) \
    && [ "$(cat name)" = new ] && rmdir other && echo "rename ok" || echo "rename failed: $said"
flock lock sh -c 'touch held; sleep 2' & holder=$!
tries=0; while [ ! -e held ] && [ $tries -lt 10 ]; do tries=$((tries + 1)); sleep 1; done
if [ ! -e held ]; then echo "flock failed: a free lock could not be taken in 10 s"; kill $holder 2>/dev/null; exit 0; fi
if flock -n lock true; then echo "flock failed: two held one lock at the same time"; exit 0; fi
wait $holder
timeout 10 flock lock true && echo "flock ok" || echo "flock failed: the lock did not end with its holder"
"""
READER = 'echo "sha $(sha256sum /data/random | cut -d " " -f 1)"; ls -ln /data'


@dataclass(frozen=True)
class Volume:
    """What is known of the claim's volume. said: what the writer told, by key. read: the reader's checksum. path: the
    folder on the node, "" where the volume is no folder of a node."""

    name: str
    node: str
    storage_class: str
    provisioner: str
    path: str
    said: dict[str, str]
    read: str


@check(
    "storage.default-class",
    "One StorageClass is the default",
    proves="a claim that names no StorageClass is served, and always by the same one",
    needs=("cluster.api",),
    timeout=30,
)
def default_class(ctx: Context) -> Outcome:
    classes = ctx.kube.items("/apis/storage.k8s.io/v1/storageclasses")
    ctx.save("storageclasses.yaml", classes)
    default = [c for c in classes if (c["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    names = sorted(c["metadata"]["name"] for c in default)
    expected = "exactly one StorageClass has the mark of the default"
    if len(names) == 1:
        how = f"{default[0]['provisioner']}, {default[0].get('volumeBindingMode', 'Immediate')}"
        return passed(expected, f"{names[0]} ({how})")
    if not names:
        fix = "arena-install up --only local-path-provisioner; or mark one: kubectl annotate storageclass NAME "
        return failed(
            expected,
            "none is the default",
            cause=f"there are {len(classes)} StorageClasses, and none is marked",
            fix=fix + f"{DEFAULT_CLASS}=true",
        )
    return failed(
        expected,
        f"{len(names)} are the default: {', '.join(names)}",
        cause="which of them serves a claim depends on which was made last",
        fix=f"kubectl annotate storageclass {names[-1]} {DEFAULT_CLASS}-  (all but one)",
    )


@check(
    _CLAIM_CHECK,
    "A claim is served",
    proves="a claim is bound by the default StorageClass, and pods that use it start",
    severity="critical",
    needs=("cluster.nodes-ready", "component:storage"),
    timeout=260,
    writes=True,
)
def claim(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    pods.claim(ctx, namespace, _CLAIM, ASKED_MIB)
    node = workers(ctx)[0]
    logs: dict[str, str] = {}
    for name, script in (("writer", WRITER), ("reader", READER)):
        source: Object = {"persistentVolumeClaim": {"claimName": _CLAIM}}
        pod = pods.manifest(ctx, name, pods.BUSYBOX, ["sh", "-c", script], node=node, volumes=[(source, "/data")])
        try:
            logs |= pods.run_all(ctx, namespace, [pod])
        except CheckFailed as error:
            raise _unserved(ctx, namespace, error) from error
    bound = ctx.kube.get(namespaced("persistentvolumeclaims", namespace, _CLAIM))
    volume = ctx.kube.get(f"/api/v1/persistentvolumes/{segment(bound['spec']['volumeName'])}")
    ctx.save("claim.yaml", bound)
    ctx.save("volume.yaml", volume)
    found = describe(volume, node, ctx.kube.items("/apis/storage.k8s.io/v1/storageclasses"), logs)
    ctx.session.shared[_CLAIM_CHECK] = found
    return passed(
        f"a claim of {ASKED_MIB} MiB is bound, a pod writes to it and another one reads",
        f"bound by StorageClass {found.storage_class} ({found.provisioner}), used on node {node}",
    )


def _unserved(ctx: Context, namespace: str, error: CheckFailed) -> CheckFailed:
    """The claim's own story, where that is what the pod waits for."""
    state = ctx.kube.get(namespaced("persistentvolumeclaims", namespace, _CLAIM))
    if state["status"].get("phase") == "Bound":
        return error
    about = [e for e in ctx.kube.items(namespaced("events", namespace)) if e["involvedObject"].get("name") == _CLAIM]
    said = [pods.event_line(event).strip() for event in about]
    ctx.save("claim.yaml", state)
    return CheckFailed(
        f"the claim is {state['status'].get('phase')}",
        cause="\n".join(said[-3:]) or error.why,
        fix=_LOOK,
    )


def workers(ctx: Context) -> list[str]:
    """Names of the nodes that take jobs: all but control planes, or these where there are no others."""
    nodes = ctx.session.nodes()
    workers = [n for n in nodes if CONTROL_PLANE not in (n["metadata"].get("labels") or {})]
    return [node["metadata"]["name"] for node in workers or nodes]


def describe(volume: Object, node: str, classes: list[Object], logs: dict[str, str]) -> Volume:
    """volume: the PersistentVolume. logs: of the pods writer and reader."""
    spec = volume["spec"]
    name = str(spec.get("storageClassName", ""))
    provisioner = next((str(c["provisioner"]) for c in classes if c["metadata"]["name"] == name), "unknown")
    folder: dict[str, Any] = spec.get("hostPath") or spec.get("local") or {}
    path = str(folder.get("path", ""))
    read = told(logs["reader"]).get("sha", "")
    return Volume(volume["metadata"]["name"], node, name, provisioner, path, told(logs["writer"]), read)


def told(log: str) -> dict[str, str]:
    """{"KEY": "WORDS..."} of a log's lines, the last one of each key."""
    return dict(line.split(" ", 1) for line in log.splitlines() if " " in line)


def _volume(ctx: Context) -> Volume:
    found: Volume = ctx.session.shared[_CLAIM_CHECK]
    return found


@check(
    "storage.permissions",
    "An ordinary user's pod may write",
    proves="a pod that is not root writes to a new volume, and what it writes is its own",
    severity="critical",
    needs=(_CLAIM_CHECK,),
    timeout=30,
    writes=True,
)
def permissions(ctx: Context) -> Outcome:
    volume = _volume(ctx)
    expected = f"user {pods.USER} (fsGroup {pods.USER}) creates a file, and owns it"
    said = volume.said.get("write", "the pod told nothing")
    owner = volume.said.get("owner", "").split()
    if said != "ok":
        return failed(
            expected,
            said,
            cause=f"StorageClass {volume.storage_class} makes volumes that only root may write to",
            fix="local-path: its setup script must make the folder with mode 0777; NFS: look at root_squash and owners",
        )
    if owner[:1] != [str(pods.USER)]:
        return failed(
            expected,
            f"the file belongs to user {' '.join(owner[:1]) or 'unknown'}",
            cause="the storage maps users: all_squash, or an idmap that does not know this one",
            fix="for NFS, look at the export's options on the server: exportfs -v",
        )
    return passed(expected, f"written by user {owner[0]}, group {owner[-1]}")


@check(
    "storage.data",
    "What is written can be read again",
    proves="data outlive the pod that wrote them, bit by bit",
    severity="critical",
    needs=("storage.permissions",),
    timeout=30,
    writes=True,
)
def data(ctx: Context) -> Outcome:
    volume = _volume(ctx)
    written = volume.said.get("sha", "")
    expected = "4 MiB of random data have the same SHA-256 in a second pod"
    if not written or written != volume.read:
        return failed(
            expected,
            f"written {written[:12] or 'nothing'}, read {volume.read[:12] or 'nothing'}",
            cause="the volume lost or changed data",
            fix=f"look at the disk of node {volume.node}: dmesg; smartctl -a DEVICE",
        )
    return passed(expected, f"same SHA-256 {written[:12]}…")


@check(
    "storage.files",
    "The file system keeps its promises",
    proves="fsync, rename and flock work: checkpoints survive a crash, and two writers keep out of each other's way",
    needs=("storage.permissions",),
    timeout=30,
    writes=True,
)
def files(ctx: Context) -> Outcome:
    volume = _volume(ctx)
    said = {key: volume.said.get(key, "not reached") for key in PROMISES}
    problems = [f"{key}: {said[key]} ({PROMISES[key]})" for key in PROMISES if said[key] != "ok"]
    expected = f"{', '.join(PROMISES)} work"
    if problems:
        return failed(
            expected,
            f"{len(problems)} of {len(PROMISES)} do not",
            cause="\n".join(problems),
            fix=f"on node {volume.node}: findmnt -T {volume.path or '/'}; for NFS: version 4, and lockd on the server",
        )
    return passed(expected, "all do")


@check(
    "storage.capacity",
    "A volume has the space that was asked for",
    proves="the volume's file system is at least as large as the claim; said where nothing keeps it from growing",
    severity="minor",
    needs=("storage.permissions",),
    timeout=30,
    writes=True,
)
def capacity(ctx: Context) -> Outcome:
    volume = _volume(ctx)
    expected = f"at least {ASKED_MIB} MiB"
    sizes = mib(volume.said.get("size", ""))
    if sizes is None:
        return failed(
            expected,
            "df gave no size",
            cause=volume.said.get("size", "the pod told nothing"),
            fix="see the writer's log in the evidence of storage.claim",
        )
    total, free = sizes
    figures = {"total_mib": total, "free_mib": free}
    if total < ASKED_MIB:
        return failed(
            expected,
            f"{total} MiB",
            cause=f"{volume.provisioner} gave less than the claim says",
            fix=f"on node {volume.node}: df -h {volume.path or '/'}",
            data=figures,
        )
    if total > 2 * ASKED_MIB:
        who = (
            f"{volume.provisioner} does not enforce a claim's size: a pod may fill the {total / 1024:.0f} GiB there are"
        )
        return passed(expected, who, data=figures)
    return passed(expected, f"{total} MiB", data=figures)


def mib(line: str) -> tuple[int, int] | None:
    """(total, free) MiB of a line of `df -kP`, None if it is none."""
    fields = line.split()
    if len(fields) < 6 or not fields[1].isdigit() or not fields[3].isdigit():
        return None
    return int(fields[1]) // 1024, int(fields[3]) // 1024


@check(
    "storage.removed",
    "A deleted claim leaves nothing",
    proves="with its claim the volume goes, and on the node nothing stays of its data",
    needs=(_CLAIM_CHECK,),
    timeout=260,
    writes=True,
)
def removed(ctx: Context) -> Outcome:
    volume = _volume(ctx)
    namespace = ctx.session.workspaces.get("restricted")
    ctx.kube.delete(namespaced("persistentvolumeclaims", namespace, _CLAIM))
    path = f"/api/v1/persistentvolumes/{segment(volume.name)}"
    expected = "the PersistentVolume is gone, and so is its folder on the node"
    try:
        ctx.wait(lambda: True if ctx.kube.find(path) is None else None, "the volume to go", seconds=_REMOVAL)
    except TimedOutError:
        state = ctx.kube.find(path) or {"status": {}}
        ctx.save("volume.yaml", state)
        return failed(
            expected,
            f"the volume is still {state['status'].get('phase')} after {_REMOVAL} s",
            cause=str(state["status"].get("message") or f"{volume.provisioner} did not remove it"),
            fix=_LOOK,
        )
    if not volume.path:
        return passed(expected, "the volume is gone; it was no folder of a node that could be looked at")
    level = ctx.session.workspaces.get("privileged")
    script = '[ -e "/host$0" ] && { echo "there $0"; ls -ln "/host$0"; } || echo "gone $0"'
    pod = pods.manifest(ctx, "look", pods.BUSYBOX, ["sh", "-c", script, volume.path], node=volume.node)
    log = pods.run_all(ctx, level, [pods.on_host(pod)])["look"]
    if not log.startswith("gone "):
        return failed(
            expected,
            "the volume is gone, its data are not",
            cause=f"{volume.node}: {volume.path} is still there",
            fix=f"on host {volume.node}: rm -r {volume.path}; kubectl -n local-path-storage get configmap "
            "local-path-config -o yaml shows what teardown does",
        )
    return passed(expected, f"both are gone; {volume.path} on {volume.node} too")
