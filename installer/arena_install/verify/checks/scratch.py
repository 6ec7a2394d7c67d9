"""Suite storage, the part that ends with its pod: shared memory and scratch space, as data loaders need them."""

from __future__ import annotations

from arena_install.verify import pods
from arena_install.verify.checks.storage import mib, told, workers
from arena_install.verify.context import Context
from arena_install.verify.kube import Object
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check

SHM_MIB = 256
SHM_WRITE_MIB = 96  # more than the 64 that a container has without asking
SCRATCH_GIB = 2
SCRATCH_WRITE_MIB = 64

_SCRIPT = f"""
try() {{
    said=$(timeout 60 dd if=/dev/zero of="$2/x" bs=1048576 count="$3" $4 2>&1) && echo "$1 ok" \\
        || echo "$1 failed: $(echo "$said" | tail -n 1)"
}}
echo "shm-size $(df -kP /dev/shm | tail -n 1)"
try shm /dev/shm {SHM_WRITE_MIB}
rm -f /dev/shm/x
echo "scratch-size $(df -kP /scratch | tail -n 1)"
try scratch /scratch {SCRATCH_WRITE_MIB} conv=fsync
"""


@check(
    "storage.scratch",
    "Jobs get shared memory and scratch space",
    proves="a pod on every worker that asks for a larger /dev/shm and for scratch space gets both, and can fill them",
    needs=("cluster.nodes-ready",),
    timeout=180,
    writes=True,
)
def scratch(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    nodes = workers(ctx)
    made = [_pod(ctx, f"scratch-{number}", node) for number, node in enumerate(nodes)]
    logs = pods.run_all(ctx, namespace, made)
    found = {node: told(logs[f"scratch-{number}"]) for number, node in enumerate(nodes)}
    expected = (
        f"/dev/shm of {SHM_MIB} MiB takes {SHM_WRITE_MIB} MiB, scratch space {SCRATCH_WRITE_MIB} MiB, on every worker"
    )
    problems = [f"{node}: {problem}" for node, said in found.items() for problem in problems_of(said)]
    if problems:
        return failed(
            expected,
            f"{len(problems)} problems on {len(nodes)} nodes",
            cause="\n".join(problems),
            fix=f"on host {problems[0].partition(':')[0]}: df -h /var/lib/kubelet; free -m; mount | grep tmpfs",
        )
    free = {node: size[1] for node, said in found.items() if (size := mib(said.get("scratch-size", "")))}
    observed = f"as asked on {len(nodes)} nodes; free: " + ", ".join(f"{n} {f / 1024:.0f} GiB" for n, f in free.items())
    return passed(expected, observed, data={"scratch_free_mib": free})


def _pod(ctx: Context, name: str, node: str) -> Object:
    """Asks the scheduler for the scratch space too: a node without it does not get the pod."""
    shm: Object = {"emptyDir": {"medium": "Memory", "sizeLimit": f"{SHM_MIB}Mi"}}
    volumes = [(shm, "/dev/shm"), ({"emptyDir": {}}, "/scratch")]
    pod = pods.manifest(ctx, name, pods.BUSYBOX, ["sh", "-c", _SCRIPT], node=node, volumes=volumes)
    pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] = f"{SCRATCH_GIB}Gi"
    return pod


def problems_of(said: dict[str, str]) -> list[str]:
    """said: what the pod told, by key."""
    problems = []
    size = mib(said.get("shm-size", ""))
    if size is None or size[0] < SHM_MIB:
        problems.append(f"/dev/shm has {size[0] if size else 'unknown'} MiB, {SHM_MIB} were asked for")
    for key, what in (("shm", "shared memory"), ("scratch", "scratch space")):
        if (answer := said.get(key, "not reached")) != "ok":
            problems.append(f"{what}: {answer}")
    return problems
