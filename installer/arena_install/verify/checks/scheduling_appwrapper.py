"""Suite scheduling, AppWrapper: a job that fails gets its retries and no more, success and deletion leave nothing
behind, and nobody gets made by it what they may not make themselves. Periods are cut short by annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from arena_install.errors import TimedOutError
from arena_install.verify import pods
from arena_install.verify.checks import jobs
from arena_install.verify.checks.scheduling_wrapped import phases
from arena_install.verify.context import CheckFailed, Context
from arena_install.verify.kube import ApiError, Object, namespaced
from arena_install.verify.model import Outcome, failed, passed
from arena_install.verify.registry import check
from arena_install.verify.watch import Change, watching

_GROUP = "workload.codeflare.dev/v1beta2"
_JOBS = "batch/v1"
_LABEL = "workload.codeflare.dev/appwrapper"
_ANNOTATION = "workload.codeflare.dev.appwrapper/"
_FIX = "kubectl -n appwrapper-system logs deployment/appwrapper-controller-manager"
_RETRIES = 2  # not the operator's default, which is 3
_GRACE, _PAUSE, _TTL = 3, 8, 10  # seconds; by default 60, 90 and a week
_EARLY = 0.5  # part of a period that must have gone: its clock has whole seconds, and a watch is late now and then
_LATE = 25.0  # seconds by which a period may be exceeded: the operator looks now and then
_GONE_WITHIN = 30.0


@check(
    "scheduling.appwrapper-retries",
    "An AppWrapper retries as often as it may, and leaves nothing",
    proves=f"a job that fails is made anew {_RETRIES} times, then is Failed; success and deletion leave nothing behind",
    needs=("cluster.pods", "component:appwrapper"),
    timeout=240,
    writes=True,
)
def retries(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    path = namespaced("appwrappers", namespace, group=_GROUP)
    periods = {"retryLimit": f"{_RETRIES}", "failureGracePeriodDuration": f"{_GRACE}s"}
    periods |= {"retryPausePeriodDuration": f"{_PAUSE}s"}
    inner = namespaced("jobs", namespace, group=_JOBS)
    with (
        jobs.cleared(ctx, "appwrappers", _GROUP),
        watching(ctx.kube, path) as seen,
        watching(ctx.kube, inner, labelSelector=_LABEL) as made,
    ):
        _submit(ctx, "goes", [_job(ctx, "goes-a", ["sleep", "600"]), _job(ctx, "goes-b", ["sleep", "600"])])
        _submit(ctx, "ends", [_job(ctx, "ends", ["sleep", "1"])], {"successTTLDuration": f"{_TTL}s"})
        _submit(ctx, "fails", [_failing(ctx, "fails")], periods)
        _await(ctx, "goes", "Running")
        pods.wait_for(ctx, namespace, _pods_of(ctx, "goes", 2), pods.running, "pods of an AppWrapper running")
        ctx.kube.delete(f"{path}/goes")
        problems = _orphans(ctx, "goes")
        _await(ctx, "ends", "Succeeded")
        problems += _orphans(ctx, "ends", _GONE_WITHIN + _TTL)
        after = _await(ctx, "fails", "Failed")
        problems += _orphans(ctx, "fails")
        pods.capture(ctx, namespace)
        jobs.remove(ctx, "appwrappers", _GROUP, "ends", "fails")
        changes = list(seen.changes)
    ctx.save("appwrapper-after.yaml", after)
    ctx.save("phases.json", {name: phases([c.object for c in changes if c.name == name]) for name in _NAMES})
    problems += [text for text in (seen.broken, made.broken) if text]
    mine = [change for change in changes if change.name == "fails"]
    times = len({str(c.object["metadata"]["uid"]) for c in made.changes if c.name == "fails"})
    problems += went_wrong(mine, times)
    problems += early(changes, made.changes)
    expected = (
        f"{1 + _RETRIES} jobs made, {_GRACE} s of grace and {_PAUSE} s from failure to retry; nothing left {_TTL} s "
        "after success, and none after deletion"
    )
    observed = f"{times} jobs made: {' → '.join(phases([change.object for change in mine]))}"
    if problems:
        return failed(expected, observed, cause="\n".join(problems), fix=_FIX)
    return passed(expected, observed, data={"made": times})


_NAMES = ("goes", "ends", "fails")


@check(
    "scheduling.appwrapper-rights",
    "An AppWrapper makes for nobody what they may not make",
    proves="an AppWrapper with a ResourceQuota, or a job for another namespace, is refused to who may not make that",
    severity="critical",
    needs=("cluster.pods", "component:appwrapper"),
    timeout=60,
    writes=True,
)
def rights(ctx: Context) -> Outcome:
    namespace = ctx.session.workspaces.get("restricted")
    quota: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "smuggled"}, "spec": {}}
    elsewhere = _job(ctx, "elsewhere", ["true"])
    elsewhere["metadata"]["namespace"] = "default"
    tries = {
        "quota": ([_job(ctx, "rights", ["true"]), quota], "not authorized to create resourcequotas"),
        "elsewhere": ([elsewhere], "cannot create objects in other namespaces"),
    }
    what = {"quota": "a ResourceQuota, which its submitter may not make", "elsewhere": "a job for another namespace"}
    said: dict[str, str] = {}
    for name, (components, _) in tries.items():
        try:
            _create(ctx, f"rights-{name}", components, {})
            said[name] = "taken"
            ctx.kube.delete(namespaced("appwrappers", namespace, f"rights-{name}", group=_GROUP))
        except ApiError as error:
            said[name] = error.why
    ctx.save("answers.json", said)
    wrong = [
        f"an AppWrapper with {what[name]}: {said[name]}"
        for name, (_, words) in tries.items()
        if words not in said[name]
    ]
    expected = "both are refused, with the reason"
    if wrong:
        return failed(
            expected, f"{len(wrong)} of {len(tries)} not so", cause="\n".join(wrong),
            fix="kubectl -n appwrapper-system get configmap appwrapper-operator-config -o yaml: userRBACAdmissionCheck",
        )  # fmt: skip
    return passed(expected, "; ".join(said.values())[:300])


def went_wrong(changes: Sequence[Change], times: int) -> list[str]:
    """What is wrong with how an AppWrapper went whose job always fails. times: how many jobs were made."""
    went = phases([change.object for change in changes])
    problems = []
    if went.count("Resetting") != _RETRIES or went[-1:] != ["Failed"]:
        problems.append(f"it went {' → '.join(went) or 'nowhere'}, not {_RETRIES} times through Resetting to Failed")
    if times != 1 + _RETRIES:
        problems.append(f"{times} jobs were made, not {1 + _RETRIES}")
    unhealthy = resetting = 0.0
    for before, now in pairwise(changes):
        was, is_ = (str((c.object.get("status") or {}).get("phase")) for c in (before, now))
        if jobs.condition(now.object, "Unhealthy") and not unhealthy:
            unhealthy = now.at
        if is_ == "Resetting" != was and unhealthy:
            problems += _period("the grace after a failure", now.at - unhealthy, _GRACE)
            resetting = now.at
        if is_ == "Resuming" and was == "Resetting" and resetting:
            problems += _period("the pause before a retry", now.at - unhealthy, _PAUSE)
            unhealthy = resetting = 0.0
    return problems


def early(wrappers: Sequence[Change], inner: Sequence[Change]) -> list[str]:
    """Whether what had succeeded was removed before its time to live was over, or long after.

    AppWrapper v1.2.2 counts it from when the job was made, not from its success: a bound below, and one above.
    """
    ends = [c for c in wrappers if c.name == "ends"]
    begun, done = (
        next((c.at for c in ends if (c.object.get("status") or {}).get("phase") == phase), None)
        for phase in ("Resuming", "Succeeded")
    )
    jobs = [c for c in inner if c.name == "ends"]
    gone = next((c.at for c in jobs if c.type == "DELETED" or c.object["metadata"].get("deletionTimestamp")), None)
    if begun is None or done is None or gone is None or gone < done - 1:
        return ["what had succeeded was not seen to go, or went before it had"]
    if begun + _TTL * _EARLY <= gone <= done + _TTL + _LATE:
        return []
    return [f"what had succeeded went {gone - begun:.1f} s after it was made, its time to live is {_TTL} s"]


def _period(what: str, seconds: float, wanted: float) -> list[str]:
    if wanted * _EARLY <= seconds <= wanted + _LATE:
        return []
    return [f"{what} was {seconds:.1f} s, the annotation says {wanted} s"]


def _await(ctx: Context, name: str, phase: str) -> Object:
    """Wait until an AppWrapper is in this phase, or was and went on; gives it. Raises CheckFailed."""
    path = namespaced("appwrappers", ctx.session.workspaces.get("restricted"), name, group=_GROUP)
    last: dict[str, str] = {}

    def look() -> Object | None:
        state = ctx.kube.get(path)
        last["phase"] = str((state.get("status") or {}).get("phase") or "without a phase")
        ctx.progress(f"{name} is {last['phase']}")
        return state if last["phase"] == phase else None

    try:
        return ctx.wait(look, f"AppWrapper {name} to be {phase}", seconds=180, every=0.5)
    except TimedOutError as error:
        pods.capture(ctx, ctx.session.workspaces.get("restricted"))
        raise CheckFailed(error.what, cause=f"it is {last['phase']}", fix=_FIX) from error


def _pods_of(ctx: Context, name: str, count: int) -> list[str]:
    """Names of an AppWrapper's pods, once they are made."""
    namespace = ctx.session.workspaces.get("restricted")

    def look() -> list[str] | None:
        found = ctx.kube.items(namespaced("pods", namespace), labelSelector=f"{_LABEL}={name}")
        return [str(pod["metadata"]["name"]) for pod in found] if len(found) == count else None

    return ctx.wait(look, f"{count} pods of AppWrapper {name}", seconds=60, every=0.5, fix=_FIX)


def _orphans(ctx: Context, name: str, seconds: float = _GONE_WITHIN) -> list[str]:
    """Wait until nothing of what an AppWrapper had made is left; what is, if it does not go."""
    namespace = ctx.session.workspaces.get("restricted")
    left: list[str] = []

    def look() -> bool | None:
        left.clear()
        for kind, group in (("jobs", _JOBS), ("pods", "")):
            found = ctx.kube.items(namespaced(kind, namespace, group=group), labelSelector=f"{_LABEL}={name}")
            left.extend(f"{kind} {one['metadata']['name']}" for one in found)
        return None if left else True

    try:
        ctx.wait(look, f"what AppWrapper {name} made to go", seconds=seconds, every=0.5)
    except TimedOutError:
        return [f"AppWrapper {name} left {', '.join(left)}"]
    return []


def _submit(ctx: Context, name: str, inner: Sequence[Object], annotations: Mapping[str, str] | None = None) -> None:
    try:
        _create(ctx, name, inner, annotations or {})
    except ApiError as error:
        raise CheckFailed(
            "the API took no AppWrapper from an ordinary user", cause=error.why,
            fix="kubectl -n appwrapper-system get pods; arena-install up mends it",
        ) from error  # fmt: skip


def _create(ctx: Context, name: str, inner: Sequence[Object], annotations: Mapping[str, str]) -> None:
    namespace = ctx.session.workspaces.get("restricted")
    body: Object = {
        "apiVersion": _GROUP,
        "kind": "AppWrapper",
        "metadata": {
            "name": name,
            "labels": pods.own_labels(ctx),
            "annotations": {f"{_ANNOTATION}{key}": value for key, value in annotations.items()},
        },
        "spec": {"components": [{"template": template} for template in inner]},
    }
    ctx.save(f"{name}.yaml", body)
    ctx.session.workspaces.user(namespace).create(namespaced("appwrappers", namespace, group=_GROUP), body)


def _failing(ctx: Context, name: str) -> Object:
    """One that makes failed pods again after a while, so that it is the AppWrapper that sees them first.

    They fail before they run: the operator looks at pods that do not run yet every 5 s, at others every minute.
    """
    job = _job(ctx, name, ["true"])
    spec = job["spec"]["template"]["spec"]
    spec["initContainers"] = [{**spec["containers"][0], "name": "first", "command": ["sh", "-c", "exit 3"]}]
    return job


def _job(ctx: Context, name: str, command: Sequence[str]) -> Object:
    part = jobs.template(ctx, "main", pods.BUSYBOX, command)
    spec: Object = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": part}
    return {"apiVersion": _JOBS, "kind": "Job", "metadata": {"name": name}, "spec": spec}
