"""Helm, by pyhelm3: install, roll back, uninstall, render. Which revisions exist is read from their Secrets' labels.

pyhelm3 runs the helm binary; ours runs it without a shell, without the user's plugins, repositories and HELM_*
settings, and so that it dies with us: an orphan must not go on writing to the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_install.errors import StepError
from arena_install.stack.api import Api

_PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
#: The server, or a webhook that is still starting, was not ready: the same call works a little later.
_PASSING = ("failed calling webhook", "etcdserver", "connection refused", "tls handshake", "no matches for kind",
            "object has been modified", "too many requests", "unable to handle the request")
_ATTEMPTS, _PAUSE = 6, 3.0  # tries, seconds between them


@dataclass(frozen=True)
class Revision:
    """One revision of a release as its Secret's labels have it."""

    number: int
    status: str  # deployed, failed, superseded, pending-install, ...

    @property
    def pending(self) -> bool:
        return self.status in _PENDING


def revisions(api: Api, namespace: str = "") -> dict[tuple[str, str], list[Revision]]:
    """All releases of the cluster, or of a namespace: (namespace, name) -> revisions, oldest first. Reads labels only,
    no contents."""
    found: dict[tuple[str, str], list[Revision]] = {}
    for secret in api.list_metadata("v1", "Secret", namespace, labelSelector="owner=helm"):
        metadata = secret["metadata"]
        labels = metadata.get("labels", {})
        if labels.get("version", "").isdigit():
            revision = Revision(int(labels["version"]), labels.get("status", "unknown"))
            found.setdefault((metadata["namespace"], labels.get("name", "")), []).append(revision)
    for rows in found.values():
        rows.sort(key=lambda revision: revision.number)
    return found


class Helm:
    """One helm binary on one cluster; `async with Helm.at(...)`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, executable: Path, kubeconfig: Path | None) -> AsyncIterator[Helm]:
        """kubeconfig may be None for rendering alone. Raises StepError where the binary does not run."""
        with tempfile.TemporaryDirectory(prefix="arena-install-helm-") as home:
            try:
                client = _client(executable, kubeconfig, Path(home))
            except (OSError, AssertionError, ValueError, subprocess.SubprocessError) as error:
                raise StepError("helm does not run", where=str(executable), why=str(error)) from error
            yield cls(client)

    async def install(
        self, release: str, chart: Path, values: Mapping[str, Any], namespace: str, timeout: int
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Install or upgrade without waiting for readiness; returns the new revision's objects and its hooks.

        timeout: seconds for hooks. Errors that pass by themselves are tried again. Raises StepError with Helm's words.
        """
        from pyhelm3 import errors  # type: ignore[import-untyped]

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                revision = await self._client.install_or_upgrade_release(
                    release, self._chart(release, chart), dict(values), namespace=namespace, create_namespace=False,
                    skip_crds=True, timeout=f"{timeout}s",
                )
                hooks = [hook.resource for hook in await revision.hooks()]
                return [obj for obj in await revision.resources() if obj], hooks
            except errors.Error as error:
                text = str(error).lower()
                if attempt == _ATTEMPTS or not any(sign in text for sign in _PASSING):
                    raise _failed(f"Helm could not install {release}", namespace, error) from error
            await asyncio.sleep(_PAUSE)
        raise AssertionError("unreachable")

    async def manifest(self, release: str, namespace: str, revision: int) -> list[dict[str, Any]]:
        """The objects of a revision, as its chart rendered; [] where that is not known any more."""
        from pyhelm3 import errors

        try:
            found = await self._client._command.get_resources(release, namespace=namespace, revision=revision)
        except errors.Error:
            return []
        return [obj for obj in found if obj]

    async def rollback(self, release: str, namespace: str, revision: int, timeout: int) -> None:
        """Back to a revision, without waiting for readiness."""
        await self._run("roll back", release, namespace,
                        self._client._command.rollback(release, revision, cleanup_on_fail=True, namespace=namespace,
                                                       timeout=f"{timeout}s"))

    async def uninstall(self, release: str, namespace: str, timeout: int) -> bool:
        """Remove a release and wait until its objects are gone; fine if it is not there. False: without its hooks.

        A hook that does not end (no node takes its pod, say) must not keep everything else.
        """
        from pyhelm3 import errors

        try:
            await self._client.uninstall_release(release, namespace=namespace, wait=True, timeout=f"{timeout}s")
            return True
        except errors.Error:
            call = self._client.uninstall_release(
                release, namespace=namespace, no_hooks=True, wait=True, timeout=f"{timeout}s"
            )
            await self._run("uninstall", release, namespace, call)
            return False

    async def render(
        self, release: str, chart: Path, values: Mapping[str, Any], namespace: str
    ) -> list[dict[str, Any]]:
        """What the chart becomes, hooks included, without a cluster."""
        from pyhelm3 import errors

        try:
            found = await self._client.template_resources(
                self._chart(release, chart), release, dict(values), namespace=namespace
            )
            return [obj for obj in found if obj]
        except errors.Error as error:
            raise _failed(f"the chart of {release} does not render", namespace, error) from error

    async def _run(self, verb: str, release: str, namespace: str, call: Any) -> None:
        from pyhelm3 import errors

        try:
            await call
        except errors.ReleaseNotFoundError:
            pass
        except errors.Error as error:
            raise _failed(f"Helm could not {verb} {release}", namespace, error) from error

    def _chart(self, release: str, chart: Path) -> Any:
        from pyhelm3 import Chart

        # The archive is given by path: Helm reads its metadata, pyhelm3 need not run helm once more for it.
        metadata = {"apiVersion": "v2", "name": release, "version": "0.0.0"}
        return Chart(self._client._command, ref=chart, metadata=metadata)


def _client(executable: Path, kubeconfig: Path | None, home: Path) -> Any:
    import semver
    from pyhelm3 import Client, Command, errors

    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
    environment |= {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    environment["KUBECACHEDIR"] = str(home / "kube")

    class Quiet(Command):  # type: ignore[misc]
        async def run(self, command: list[Any], input: bytes | None = None) -> bytes:
            arguments = [str(part) for part in command]
            if self._kubeconfig:
                arguments += ["--kubeconfig", str(self._kubeconfig)]
            process = await asyncio.create_subprocess_exec(
                str(executable), *arguments,
                stdin=asyncio.subprocess.PIPE if input is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=environment, preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            try:
                stdout, stderr = await process.communicate(input)
            except asyncio.CancelledError:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
                raise
            if process.returncode:
                missing = b"release: not found" in stderr.lower()
                raise (errors.ReleaseNotFoundError if missing else errors.Error)(process.returncode, stdout, stderr)
            return stdout

        def client_version(self) -> Any:
            done = subprocess.run(
                [str(executable), "version", "--template", "{{ .Version }}"],
                capture_output=True, text=True, check=True, env=environment, timeout=30,
            )
            # A helm that was built without its version set says "v3.21".
            return semver.Version.parse(done.stdout.strip().removeprefix("v"), optional_minor_and_patch=True)

    command = Quiet(executable=str(executable), kubeconfig=kubeconfig)
    return Client(command, executable=str(executable))


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: Helm notes the interruption in its release and ends


def _failed(what: str, namespace: str, error: Exception) -> StepError:
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("WARNING")]
    return StepError(what, where=f"namespace {namespace}", why="\n".join(lines[-6:]))
