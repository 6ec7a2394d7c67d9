"""Install components: needs first, independent ones side by side, nothing twice.

A component whose inputs, release and objects are as the ledger has them costs a few reads and no Helm call. One that
fails is explained, its evidence is kept, it is rolled back, what needs it is skipped, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from arena_install import paths
from arena_install.errors import ArenaError, StepError, TimedOutError
from arena_install.events import Emit, Outcome, Step, step
from arena_install.inventory.cluster import Cluster
from arena_install.plan import Reason, Record, reasons
from arena_install.stack import ledger, pods, prepare, ready
from arena_install.stack.api import Api
from arena_install.stack.helm import Helm, Revision
from arena_install.stack.inspect import as_left, inspect
from arena_install.stack.lease import held
from arena_install.stack.ledger import Entry, Ref
from arena_install.stack.restore import take_back
from arena_install.stack.values import Inputs, Resolved, inputs_of
from arena_install.stack.wishes import Wishes

_T = TypeVar("_T")

_POLL = 0.5  # seconds between looks at a component that is not ready
_REMIND = 15.0  # seconds after which an unchanged wait is said again
_REFRESH = 6.0  # seconds between pushes that bring a webhook's certificate into its pod
_BROKEN_FOR = 15.0  # seconds that a state which does not mend must last to count as failure
_HOOKS = 120  # seconds for a chart's hooks, and for an uninstallation


@dataclass(frozen=True)
class Result:
    """What became of one component."""

    name: str
    outcome: Outcome  # changed, ok (was already so), failed, skipped
    text: str = ""
    seconds: float = 0.0
    error: ArenaError | None = None

    @property
    def changed(self) -> bool:
        return self.outcome == "changed"


class StackError(StepError):
    """Some components failed; results has all of them. The exit code is that of the first failure."""

    def __init__(self, results: Mapping[str, Result], *, again: str = "arena-install up") -> None:
        failed = [result for result in results.values() if result.error]
        skipped = [result for result in results.values() if result.outcome == "skipped"]
        names = ", ".join(result.name for result in failed)
        lines = [str(result.error) for result in failed] + [f"{row.name} was skipped: {row.text}" for row in skipped]
        fixes = {result.error.fix for result in failed if result.error and result.error.fix}
        super().__init__(
            f"{len(failed)} of {len(results)} components failed: {names}",
            why="\n".join(lines),
            fix=next(iter(fixes)) if len(fixes) == 1 else f"mend what is named above, then run `{again}` again",
        )
        self.results = dict(results)
        self.exit_code = next((result.error.exit_code for result in failed if result.error), 1)


def install(
    cluster: Cluster,
    kubeconfig: Path,
    resolved: Resolved,
    wanted: Wishes,
    emit: Emit,
    *,
    evidence: Path | None = None,
) -> dict[str, Result]:
    """Bring components to the wanted state (see wishes.wishes); returns name -> Result, needs first.

    evidence: folder for what is captured of failures (default: evidence/ in the cluster's state folder). Raises
    StackError when components failed, UnreachableError.
    """
    api = Api(kubeconfig)
    try:
        return asyncio.run(_all(_Job(cluster, api, wanted, emit, evidence), resolved))
    finally:
        api.close()


async def _all(job: _Job, resolved: Resolved) -> dict[str, Result]:
    seen = await asyncio.to_thread(inspect, job.api)
    job.entries, job.revisions, job.records = seen.entries, seen.releases, seen.records
    job.reasons = {name: reasons(seen.records.get(name), wish.digest) for name, wish in job.wanted.items()}
    due = [name for name in job.wanted if job.reasons[name]]
    job.nodes = len(await asyncio.to_thread(job.api.list_metadata, "v1", "Node"))
    if not due:
        return await job.run()
    job.inputs = {name: inputs_of(job.wanted[name], resolved) for name in due}
    await asyncio.to_thread(ledger.prepare, job.api)
    async with held(job.api, job.emit), Helm.at(resolved.program("helm"), job.api.kubeconfig) as job.helm:
        return await job.run()


class _Job:
    """One installation of several components."""

    def __init__(
        self, cluster: Cluster, api: Api, wanted: Wishes, emit: Emit, evidence: Path | None
    ) -> None:
        self.cluster, self.api, self.wanted, self.emit, self.evidence = cluster, api, wanted, emit, evidence
        self.helm: Helm | None = None
        self.entries: Mapping[str, Entry] = {}
        self.revisions: Mapping[tuple[str, str], Sequence[Revision]] = {}
        self.records: Mapping[str, Record] = {}
        self.reasons: dict[str, tuple[Reason, ...]] = {}
        self.inputs: dict[str, Inputs] = {}  # of those that are due
        self.nodes = 1
        self._done: dict[str, asyncio.Task[Result]] = {}

    def history(self, name: str) -> Sequence[Revision]:
        component = self.wanted[name].component
        return self.revisions.get((component.namespace.name, component.release), ())

    def edited(self, name: str) -> list[str]:
        """Names of what is not as the ledger has it, also in a component that an interrupted run left."""
        record = self.records.get(name)
        return [item.name for item in record.items if item.recorded != item.found] if record else []

    # all of them

    async def run(self) -> dict[str, Result]:
        # Creation order is needs first, so that a task finds those it needs.
        for name in self.wanted:
            self._done[name] = asyncio.create_task(self._one(name))
        try:
            results = {name: await task for name, task in self._done.items()}
        except BaseException:
            for task in self._done.values():
                task.cancel()
            await asyncio.gather(*self._done.values(), return_exceptions=True)
            raise
        if any(result.error for result in results.values()):
            raise StackError(results)
        return results

    async def _one(self, name: str) -> Result:
        started = time.monotonic()
        component = self.wanted[name].component
        result = Result(name, "failed")
        try:
            with step(self.emit, f"component/{name}", component.title) as handle:
                result = await (self._install(name, handle) if self.reasons[name] else self._keep(name, handle))
                handle.end(result.outcome, result.text)
        except ArenaError as error:
            result = Result(name, "failed", error.what, error=error)
        return replace(result, seconds=time.monotonic() - started)

    async def _keep(self, name: str, handle: Step) -> Result:
        """Nothing to change; only see that it is still ready."""
        await self._wait(name, self.entries[name].objects, handle)
        return Result(name, "ok", "unchanged")

    async def _install(self, name: str, handle: Step) -> Result:
        inputs = self.inputs[name]
        component = inputs.wish.component
        before = self.entries.get(name)
        drifted = [reason for reason in self.reasons[name] if reason.why == "drift"]
        for reason in drifted:
            handle.log(f"{reason}: putting it back")
        entry = await self._thread(self._prepare, inputs, before)
        needs = [self._done[need] for need in component.needs if need in self._done]  # else it is there by other means
        blocked = [row.name for row in [await need for need in needs] if row.outcome in ("failed", "skipped")]
        if blocked:
            return Result(name, "skipped", f"needs {', '.join(blocked)}, which is not there")
        assert self.helm is not None
        previous = await self._recover(name, handle)
        timeout = component.timeout.seconds(self.nodes)
        handle.progress(f"installing chart {component.chart}")
        try:
            if previous:  # Helm would merge its own with what somebody put in
                rendered = await self.helm.manifest(component.release, component.namespace.name, previous)
                await self._thread(take_back, self.api, rendered, component.namespace.name)
            objects, hooks = await self.helm.install(
                component.release, inputs.chart, inputs.wish.values, component.namespace.name, min(timeout, _HOOKS)
            )
            home = component.namespace.name
            entry = replace(entry, objects=_refs(self.api, objects, home), hooks=_refs(self.api, hooks, home))
            await self._thread(ledger.write, self.api, name, entry)
            await self._wait(name, entry.objects, handle)
        except ArenaError as error:
            raise await self._failed(inputs, entry, previous, error, handle) from error
        await self._thread(ledger.write, self.api, name, await self._thread(as_left, self.api, entry))
        back = ", ".join(reason.item for reason in drifted)
        text = f"put back: {back}" if back else "installed" if before is None else "updated"
        return Result(name, "changed", text)

    def _prepare(self, inputs: Inputs, before: Entry | None) -> Entry:
        """Record the intent, then make what the chart stands on."""
        wish = inputs.wish
        component = wish.component
        entry = Entry(
            status="intent", inputs=wish.digest, chart=component.chart, version=inputs.chart_version,
            namespace=component.namespace.name, release=component.release, at=ledger.now(),
        )
        if before is not None:
            keep = ("objects", "hooks", "ours", "crds", "namespaces", "node_labels", "states", "revision")
            entry = replace(entry, **{key: getattr(before, key) for key in keep})
        ledger.write(self.api, component.name, entry)
        home = component.namespace.name
        if prepare.namespace(self.api, component, known=home in entry.namespaces):
            entry = replace(entry, namespaces=(home,))
        entry = replace(
            entry, crds=tuple(prepare.crds(self.api, component, inputs.crds, self.edited(component.name))),
            ours=tuple(prepare.own_objects(self.api, wish)),
            node_labels=prepare.node_labels(self.api, wish, self.cluster),
        )
        own_crds = [row for row in inputs.crds if row["metadata"]["name"] in entry.crds]
        take_back(self.api, [*wish.objects, *own_crds], home)
        ledger.write(self.api, component.name, entry)
        return entry

    async def _recover(self, name: str, handle: Step) -> int:
        """Bring a release that somebody left half done to rest; the number of a deployed revision, 0 if none."""
        component, history = self.wanted[name].component, self.history(name)
        deployed = [row.number for row in history if row.status == "deployed"]
        deployed = deployed or [row.number for row in history if row.status == "superseded"][-1:]
        if history and history[-1].pending:
            assert self.helm is not None
            state = history[-1].status
            handle.progress(f"release {component.release} was left in {state}: recovering it")
            await self._thread(self._capture, name, f"found in {state}")
            if deployed and state != "uninstalling":
                await self.helm.rollback(component.release, component.namespace.name, deployed[-1], _HOOKS)
            else:
                await self.helm.uninstall(component.release, component.namespace.name, _HOOKS)
                return 0
        return deployed[-1] if deployed else 0

    async def _wait(self, name: str, objects: Iterable[Ref], handle: Step) -> None:
        """Until ready. Raises TimedOutError, or StepError for what waiting does not mend."""
        component = self.wanted[name].component
        limit = component.timeout.seconds(self.nodes)
        started = said = time.monotonic()
        refreshed = started
        broken_since: float | None = None
        text = ""
        rows = list(objects)
        while missing := await self._thread(ready.missing, self.api, component, rows, self.cluster):
            now = time.monotonic()
            if component.ready.webhooks and now - refreshed >= _REFRESH:
                refreshed = now
                await self._thread(pods.refresh_secrets, self.api, component.namespace.name)
            first = next((row for row in missing if row.broken), missing[0])
            if first.text != text or now - said >= _REMIND:
                text, said = first.text, now
                handle.waiting(text)
            broken_since = (broken_since or now) if first.broken else None
            if broken_since is not None and now - broken_since >= _BROKEN_FOR:
                raise StepError(f"{name} does not become ready", why=text)
            if now - started >= limit:
                raise TimedOutError(f"{name} is not ready after {limit} s", why=text)
            await asyncio.sleep(_POLL)

    # failure

    def _capture(self, name: str, why: str) -> tuple[Path, list[pods.PodState]]:
        component = self.wanted[name].component
        base = self.evidence or paths.state_dir(self.cluster.name) / "evidence"
        folder = base / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        summary = {
            "component": name, "why": why, "entry": self.entries.get(name),
            "revisions": [vars(row) for row in self.history(name)],
        }
        return folder, pods.capture(self.api, component.namespace.name, folder, summary)

    async def _failed(
        self, inputs: Inputs, entry: Entry, previous: int, error: ArenaError, handle: Step
    ) -> ArenaError:
        """Explain a failure, keep its evidence, roll back; returns the error to show."""
        component = inputs.wish.component
        namespace, name = component.namespace.name, component.name
        assert self.helm is not None
        where, lines, kept, undone = "", error.why.splitlines(), "", ""
        try:
            folder, states = await self._thread(self._capture, name, error.what)
            mine = [ref.name for ref in entry.objects if ref.kind in pods.WORKLOADS]
            states = [state for state in states if any(state.name.startswith(prefix) for prefix in mine)]
            where, more = await self._thread(pods.explain, self.api, namespace, mine, states)
            lines += [line for line in more if line not in error.why]
            kept = f"look at {folder}, then run `arena-install up` again"
            handle.progress("rolling back")
            if previous:
                await self.helm.rollback(component.release, namespace, previous, _HOOKS)
                undone = f"rolled back to revision {previous}"
            else:
                await self.helm.uninstall(component.release, namespace, _HOOKS)
                undone = "the release was taken back"
                entry = replace(entry, objects=())
            await self._thread(ledger.write, self.api, name, replace(entry, status="failed"))
        except ArenaError as second:
            undone = f"the rollback failed too: {second.what}: {second.why}"
        kind = type(error) if type(error) in (StepError, TimedOutError) else StepError
        if isinstance(error, TimedOutError | StepError) or not kept:
            shown = kind(error.what, where=where or error.where, why="\n".join([*lines, undone]), fix=kept or error.fix)
        else:
            shown = error
        return shown

    @staticmethod
    async def _thread(call: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.to_thread(call, *arguments)


def _refs(api: Api, objects: Iterable[Mapping[str, Any]], namespace: str) -> tuple[Ref, ...]:
    """The release's objects; those without a namespace of their own get the release's, where their kind has one."""
    refs = []
    for obj in objects:
        metadata = obj["metadata"]
        inside = metadata.get("namespace") or namespace
        home = inside if api.namespaced(obj["apiVersion"], obj["kind"]) else ""
        refs.append(Ref(obj["apiVersion"], obj["kind"], metadata["name"], home))
    return tuple(refs)
