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
from arena_install.errors import ArenaError, ConfigError, StepError, TimedOutError
from arena_install.events import Emit, Outcome, Step, step
from arena_install.inventory.cluster import Cluster
from arena_install.stack import ledger, pods, prepare, ready
from arena_install.stack.api import Api
from arena_install.stack.graph import Catalogue, catalogue, order
from arena_install.stack.helm import Helm, Revision, revisions
from arena_install.stack.lease import held
from arena_install.stack.ledger import Entry, Ref
from arena_install.stack.values import Inputs, Resolved, inputs_of

_T = TypeVar("_T")

_POLL = 0.5  # seconds between looks at a component that is not ready
_REMIND = 15.0  # seconds after which an unchanged wait is said again
_BROKEN_FOR = 15.0  # seconds that a state which does not mend must last to count as failure
_HOOKS = 120  # seconds for a chart's hooks, and for an uninstallation

#: Kinds whose spec nobody but us changes, so that a new generation is somebody's edit.
_STEADY = ("Deployment", "DaemonSet", "StatefulSet")


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
    names: Sequence[str],
    emit: Emit,
    *,
    rows: Catalogue | None = None,
    evidence: Path | None = None,
) -> dict[str, Result]:
    """Bring components (and what they need) to the wanted state; returns name -> Result, needs first.

    Nothing is written before every template has rendered. evidence: folder for what is captured of failures (default:
    evidence/ in the cluster's state folder). Raises StackError when components failed, ConfigError, UnreachableError.
    """
    rows = catalogue() if rows is None else rows
    for name in names:
        if name not in rows:
            raise ConfigError(f"there is no component {name!r}", fix=f"components are: {', '.join(rows)}")
    for name in cluster.config.values:
        if name not in rows:
            raise ConfigError(
                f"values are given for {name!r}, which is no component",
                where="values in cluster.yaml",
                fix=f"components are: {', '.join(rows)}",
            )
    wanted = {name: inputs_of(rows[name], cluster, resolved) for name in order(names, rows)}
    api = Api(kubeconfig)
    try:
        return asyncio.run(_all(_Job(cluster, api, wanted, emit, evidence), resolved.program("helm")))
    finally:
        api.close()


async def _all(job: _Job, helm: Path) -> dict[str, Result]:
    job.entries = await asyncio.to_thread(ledger.read, job.api)
    job.revisions = await asyncio.to_thread(revisions, job.api)
    job.nodes = len(await asyncio.to_thread(job.api.list_metadata, "v1", "Node"))
    settled = [name for name in job.wanted if job.unchanged(name)]
    drifted = await asyncio.gather(*(asyncio.to_thread(job.drift, name) for name in settled))
    job.drifted = {name: drift for name, drift in zip(settled, drifted, strict=True) if drift}
    job.settled = set(settled) - set(job.drifted)
    if len(job.settled) == len(job.wanted):
        return await job.run()
    await asyncio.to_thread(ledger.prepare, job.api)
    async with held(job.api, job.emit), Helm.at(helm, job.api.kubeconfig) as job.helm:
        return await job.run()


class _Job:
    """One installation of several components."""

    def __init__(
        self, cluster: Cluster, api: Api, wanted: Mapping[str, Inputs], emit: Emit, evidence: Path | None
    ) -> None:
        self.cluster, self.api, self.wanted, self.emit, self.evidence = cluster, api, wanted, emit, evidence
        self.helm: Helm | None = None
        self.entries: dict[str, Entry] = {}
        self.revisions: dict[tuple[str, str], list[Revision]] = {}
        self.settled: set[str] = set()
        self.drifted: dict[str, str] = {}
        self.nodes = 1
        self._done: dict[str, asyncio.Task[Result]] = {}

    # what is there

    def history(self, name: str) -> list[Revision]:
        component = self.wanted[name].component
        return self.revisions.get((component.namespace.name, component.release), [])

    def unchanged(self, name: str) -> bool:
        """Same inputs as last time, and the release stands."""
        entry, history = self.entries.get(name), self.history(name)
        deployed = bool(history) and history[-1].status == "deployed"
        return entry is not None and entry.status == "done" and entry.inputs == self.wanted[name].digest and deployed

    def drift(self, name: str) -> str:
        """What of a component is gone or was edited since, "" if nothing."""
        entry = self.entries[name]
        refs = [*entry.objects, *entry.ours, *(Ref(*prepare.CRD, crd) for crd in entry.crds)]
        for ref in refs:
            found = self.api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
            if found is None:
                return f"{ref} is gone"
            if ref.generation and found["metadata"].get("generation") != ref.generation:
                return f"{ref} was changed"
        return ""

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
                result = await (self._keep(name, handle) if name in self.settled else self._install(name, handle))
                handle.end(result.outcome, result.text)
        except ArenaError as error:
            result = Result(name, "failed", error.what, error=error)
        return replace(result, seconds=time.monotonic() - started)

    async def _keep(self, name: str, handle: Step) -> Result:
        """Nothing to change; only see that it is still ready."""
        await self._wait(name, self.entries[name].objects, handle)
        return Result(name, "ok", "unchanged")

    async def _install(self, name: str, handle: Step) -> Result:
        inputs = self.wanted[name]
        component = inputs.component
        before = self.entries.get(name)
        if drift := self.drifted.get(name):
            handle.log(f"{drift}: putting it back")
        entry = await self._thread(self._prepare, inputs, before)
        blocked = [need for need in component.needs if (await self._done[need]).outcome in ("failed", "skipped")]
        if blocked:
            return Result(name, "skipped", f"needs {', '.join(blocked)}, which is not there")
        assert self.helm is not None
        previous = await self._recover(name, handle)
        timeout = component.timeout.seconds(self.nodes)
        handle.progress(f"installing chart {component.chart}")
        try:
            objects, hooks = await self.helm.install(
                component.release, inputs.chart, inputs.values, component.namespace.name, min(timeout, _HOOKS)
            )
            home = component.namespace.name
            entry = replace(entry, objects=_refs(self.api, objects, home), hooks=_refs(self.api, hooks, home))
            await self._thread(ledger.write, self.api, name, entry)
            await self._wait(name, entry.objects, handle)
        except ArenaError as error:
            raise await self._failed(inputs, entry, previous, error, handle) from error
        entry = replace(entry, status="done", at=ledger.now(), objects=await self._thread(self._generations, entry))
        await self._thread(ledger.write, self.api, name, entry)
        text = f"put back: {drift}" if drift else "installed" if before is None else "updated"
        return Result(name, "changed", text)

    def _prepare(self, inputs: Inputs, before: Entry | None) -> Entry:
        """Record the intent, then make what the chart stands on."""
        component = inputs.component
        entry = Entry(
            status="intent", inputs=inputs.digest, chart=component.chart, version=inputs.chart_version,
            namespace=component.namespace.name, release=component.release, at=ledger.now(),
        )
        if before is not None:
            keep = ("objects", "hooks", "ours", "crds", "namespaces", "node_labels")
            entry = replace(entry, **{key: getattr(before, key) for key in keep})
        ledger.write(self.api, component.name, entry)
        if prepare.namespace(self.api, component):
            entry = replace(entry, namespaces=(component.namespace.name,))
        entry = replace(
            entry, crds=tuple(prepare.crds(self.api, component, inputs.crds)),
            ours=tuple(prepare.own_objects(self.api, inputs)),
            node_labels=prepare.node_labels(self.api, inputs, self.cluster),
        )
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
        broken_since: float | None = None
        text = ""
        rows = list(objects)
        while missing := await self._thread(ready.missing, self.api, component, rows, self.cluster):
            now = time.monotonic()
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
        component = inputs.component
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

    def _generations(self, entry: Entry) -> tuple[Ref, ...]:
        refs = []
        for ref in entry.objects:
            if ref.kind in _STEADY:
                found = self.api.get(ref.api_version, ref.kind, ref.name, ref.namespace, metadata_only=True)
                ref = replace(ref, generation=int((found or {}).get("metadata", {}).get("generation") or 0))
            refs.append(ref)
        return tuple(refs)

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
