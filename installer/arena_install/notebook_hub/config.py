"""What JupyterHub is told. The chart's values come in as /etc/jupyterhub/values.json."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hub import Notebooks, Users  # type: ignore[import-not-found]  # beside this file

_DATA = Path("/srv/jupyterhub")
_HOME = "/home/notebook"
_PID = Path("/tmp/proxy.pid")
_USER = 65532
_CULLER = (sys.executable, "-m", "jupyterhub_idle_culler")

values = json.loads(Path("/etc/jupyterhub/values.json").read_text())
service = f"http://hub.{os.environ['POD_NAMESPACE']}.svc:8081"


def profile(row: dict[str, Any]) -> dict[str, Any]:
    limits = {"memory": row["memory"]} | ({"nvidia.com/gpu": str(row["gpus"])} if row["gpus"] else {})
    words = [f"{row['cpu']} CPU", f"{row['memory']} memory", *([f"{row['gpus']} GPU"] if row["gpus"] else [])]
    return {
        "display_name": row["name"],
        "slug": row["slug"],
        "description": ", ".join(words),
        "kubespawner_override": {
            "extra_resource_guarantees": {"cpu": str(row["cpu"]), "memory": row["memory"]},
            "extra_resource_limits": limits,
        },
    }


c = get_config()  # type: ignore[name-defined]  # noqa: F821

c.JupyterHub.authenticator_class = Users
c.Authenticator.allow_all = True  # whom Users lets in
c.Authenticator.auth_refresh_age = 60  # seconds after which it is asked again
c.Authenticator.auth_refresh_strict = True  # of who comes with a token too

c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://127.0.0.1:8081"  # for the proxy, beside it
c.Spawner.hub_connect_url = service
c.JupyterHub.db_url = f"sqlite:///{_DATA}/jupyterhub.sqlite"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret_file = str(_DATA / "cookie_secret")
c.JupyterHub.cleanup_servers = False  # notebooks outlive the hub
# A number from before a restart is of another process now.
_PID.unlink(missing_ok=True)
c.ConfigurableHTTPProxy.pid_file = str(_PID)
c.JupyterHub.template_vars = {
    "announcement_login": "The password is in your namespace: <code>kubectl get secret notebook-login "
    "-o go-template='{{.data.password | base64decode}}'</code>"
}

if values["idle"]:
    c.JupyterHub.services = [
        {
            "name": "idle-culler",
            # Also what the hub knows of who has not been there: with it go those who were removed, and their tokens.
            "command": [*_CULLER, f"--timeout={values['idle']}", "--cull-users=true"],
        }
    ]
    c.JupyterHub.load_roles = [
        {
            "name": "idle-culler",
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers", "admin:users"],
            "services": ["idle-culler"],
        }
    ]

c.JupyterHub.spawner_class = Notebooks
c.Spawner.default_url = "/lab"
c.Spawner.notebook_dir = _HOME
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 120
c.KubeSpawner.image = values["notebook"]["image"]
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.cmd = ["python3", "-m", "jupyterhub.singleuser"]
c.KubeSpawner.profile_list = [profile(row) for row in values["profiles"]]
c.KubeSpawner.pod_name_template = "notebook-{username}"
c.KubeSpawner.service_account = "notebook"
c.KubeSpawner.automount_service_account_token = True
c.KubeSpawner.common_labels = {"app.kubernetes.io/name": "notebook", "app.kubernetes.io/managed-by": "kubespawner"}
c.KubeSpawner.extra_labels = {"arena-install.local/component": "jupyterhub"}
c.KubeSpawner.tolerations = values["notebook"]["tolerations"]
c.KubeSpawner.node_selector = values["notebook"]["nodeSelector"]
c.KubeSpawner.extra_pod_config = {"enableServiceLinks": False}

c.KubeSpawner.handle_legacy_names = False
c.KubeSpawner.pvc_name_template = "notebook"
c.KubeSpawner.remember_pvc_name = False
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.delete_pvc = False  # whoever the hub forgets keeps their files
c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
c.KubeSpawner.storage_capacity = values["notebook"]["storage"]["size"]
c.KubeSpawner.storage_class = values["notebook"]["storage"]["className"] or None
c.KubeSpawner.volumes = [
    {"name": "home", "persistentVolumeClaim": {"claimName": "notebook"}},
    {"name": "shm", "emptyDir": {"medium": "Memory"}},  # for data loaders; counts as the container's memory
]
c.KubeSpawner.volume_mounts = [{"name": "home", "mountPath": _HOME}, {"name": "shm", "mountPath": "/dev/shm"}]

c.KubeSpawner.pod_security_context = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
c.KubeSpawner.container_security_context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
