"""Evidence of what is still in the run's namespaces when they are about to go: the readers, and the pods and jobs of
checks that were cut off before they could save it themselves."""

from __future__ import annotations

import yaml

from arena_install.errors import ArenaError
from arena_install.verify.kube import namespaced
from arena_install.verify.pods import event_line
from arena_install.verify.redact import redacted
from arena_install.verify.session import Session


def capture_rest(session: Session) -> None:
    """Save pods, logs, training jobs and events below evidence/run/<namespace>/; what can't be read is left out."""
    for namespace in session.workspaces.made:
        try:
            found = _read(session, namespace)
        except ArenaError:
            continue
        folder = session.evidence / "run" / namespace
        for name, content in found.items():
            if content:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(content, encoding="utf-8")


def _read(session: Session, namespace: str) -> dict[str, str]:
    kube = session.kube
    pods = kube.items(namespaced("pods", namespace))
    files = {"pods.yaml": _yaml(pods)}
    if session.facts.pytorchjobs:
        files["pytorchjobs.yaml"] = _yaml(kube.items(namespaced("pytorchjobs", namespace, group="kubeflow.org/v1")))
    files["events.txt"] = "".join(event_line(event) for event in kube.items(namespaced("events", namespace)))
    for pod in pods:
        for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
            name = pod["metadata"]["name"]
            files[f"logs/{name}.{container['name']}.log"] = kube.logs(namespace, name, container["name"])
    return files


def _yaml(objects: list[dict[str, object]]) -> str:
    return yaml.safe_dump(redacted(objects), sort_keys=False, width=120) if objects else ""
