"""`down`: `up` run backwards from the ledgers. What they do not record is left alone.

Whatever kills it, the same call goes on from there, and so does `up`: a component, a node and a host's roles are marked
as leaving before anything is taken from them, and each mark goes with the last of what it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arena_install import artifacts, stack
from arena_install.apply.ansible import run_playbook
from arena_install.apply.lockfile import exclusive
from arena_install.artifacts import Resolved
from arena_install.errors import ArenaError
from arena_install.events import Emit, Event
from arena_install.pipeline import variables
from arena_install.pipeline.forget import forget
from arena_install.pipeline.reach import answering
from arena_install.pipeline.removal import NothingToUndo, Request, look, no_api
from arena_install.pipeline.setting import Setting
from arena_install.plan import Removal
from arena_install.stack import nodes
from arena_install.stack.api import Api


@dataclass(frozen=True)
class Result:
    """changed: host -> tasks that changed something. components: name -> what became of it. kept: on the controller."""

    removal: Removal
    changed: dict[str, int]
    components: dict[str, str]
    kept: tuple[Path, ...] = ()


def down(setting: Setting, request: Request, emit: Emit, run: Path) -> Result:
    """Take away what is asked for. run: folder for what this run says. Raises ArenaError, as `look` does and steps."""
    with exclusive(setting.state / "lock", emit) as held:
        try:
            removal = look(setting, request, emit)
        except NothingToUndo:
            _forget(setting, request)
            raise
        work = _Work(setting, request, removal, emit, run, held)
        if request.components:
            return work.components(request.components)
        if setting.existing:
            return work.inside()
        return work.cluster() if removal.whole else work.hosts()


def _forget(setting: Setting, request: Request) -> tuple[Path, ...]:
    return forget(setting.cluster.name, inventory=setting.cluster.inventory, reports=request.keep_reports)


@dataclass
class _Work:
    setting: Setting
    request: Request
    removal: Removal
    emit: Emit
    run: Path
    held: int  # descriptor of the cluster's lock, for children

    def inside(self) -> Result:
        """All that is ours in a cluster that is not."""
        names = [row.component for row in self.removal.components]
        result = self.components(names) if names else Result(self.removal, {}, {})
        return replace(result, kept=_forget(self.setting, self.request))

    def components(self, wanted: Sequence[str]) -> Result:
        """Some components, and what they left on hosts."""
        self.unproven()
        with answering(self.setting) as api:
            if api is None:
                raise no_api(self.setting)
            helm = artifacts.resolve(self.setting.lock, ["helm"], self.setting.cluster.config, self.emit)
            changed: dict[str, int] = {}

            def on_hosts(names: Sequence[str]) -> None:
                leaves = [leaf for row in self.removal.components if row.component in names for leaf in row.leaves]
                if leaves and self.removal.hosts:
                    extra = {"arena_hosts": {"kubernetes_node": list(self.removal.names)}, "arena_leaves": leaves}
                    changed.update(self.play("leaves.yml", extra))

            results = stack.uninstall(api.kubeconfig, helm, wanted, self.emit, on_hosts=on_hosts)
        return Result(self.removal, changed, {name: result.text for name, result in results.items()})

    def hosts(self) -> Result:
        """Some hosts of a cluster that goes on."""
        self.unproven()
        names = [name.lower() for name in self.removal.names]
        with answering(self.setting) as api:
            if api is None and not self.request.force:
                raise no_api(self.setting)
            if api:
                reached = [row.host.lower() for row in self.removal.hosts if row.roles]
                nodes.drain(api, reached, self.emit, limit=self.request.drain, force=self.request.force)
                nodes.mark(api, names)
            planes = [host.name for host in self.setting.cluster.group("control_plane")]
            gone = [name for name in self.removal.names if name in planes]
            extra = {"arena_keeper": self.removal.keeper, "arena_members_gone": [name.lower() for name in gone]}
            changed = self.reset(extra)
            if api:
                nodes.delete(api, names)
        return Result(self.removal, changed, {})

    def cluster(self) -> Result:
        """All of it; a part of the cluster that can't be taken out any more goes with its hosts."""
        done: dict[str, str] = {}
        with answering(self.setting) as api:
            if api is None:
                self.warn("the Kubernetes API does not answer; what is in the cluster goes with its hosts")
            elif self.removal.hosts:
                done = self.uninstall_all(api)
                nodes.mark(api, [name.lower() for name in self.removal.names])
        changed = self.reset({}) if self.removal.hosts else {}
        return Result(self.removal, changed, done, _forget(self.setting, self.request))

    def uninstall_all(self, api: Api) -> dict[str, str]:
        names = [row.component for row in self.removal.components]
        try:
            # As it is: nothing is built for a cluster that goes.
            resolved = Resolved.load(self.setting.resolved_file)
            results = stack.uninstall(api.kubeconfig, resolved, names, self.emit) if names else {}
        except ArenaError as error:
            self.warn(f"{error.what}; it goes with the hosts")
            return {}
        return {name: result.text for name, result in results.items()}

    def reset(self, extra: Mapping[str, object]) -> dict[str, int]:
        hosts = {role.name: list(self.removal.hosts_of(role.name)) for role in self.setting.roles}
        return self.play("reset.yml", {**extra, "arena_hosts": hosts})

    def play(self, playbook: str, extra: Mapping[str, object]) -> dict[str, int]:
        setting = self.setting
        given = variables.fleet(setting.cluster, setting.resolved_file, setting.kubeconfig) | dict(extra)
        outcome = run_playbook(
            setting.cluster,
            playbook,
            given,
            variables.defaults(setting.cluster),
            self.run / "ansible",
            self.emit,
            inherit=(self.held,),
        )
        return outcome.changed

    def unproven(self) -> None:
        """The cluster that was proven is another than the one that stays."""
        (self.setting.state / "verified").unlink(missing_ok=True)

    def warn(self, text: str) -> None:
        self.emit(Event("warning", "cluster", text))
