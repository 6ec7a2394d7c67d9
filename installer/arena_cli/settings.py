"""arena's own configuration: $ARENA_CONFIG or ~/.arena/config, lines of key=value, as upstream's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from arena_cli import fields
from arena_install.errors import ConfigError

KEYS = (
    "namespace",
    "imagePullSecrets",
    "tfjob_role_sequence",
    "prometheus_address",
    "prometheus_token",
    "logviewer_address",
    "sync_image",
    "tensorboard_image",
    "cron_image",
    "serving_image",
)


@dataclass(frozen=True)
class Settings:
    namespace: str = ""
    pull_secrets: tuple[str, ...] = ()
    prometheus_address: str = ""
    prometheus_token: str = ""
    logviewer_address: str = ""  # ours; a page for each pod is at ADDRESS/NAMESPACE/POD
    # Ours too: a site's own images for what runs beside jobs, where no flag names one.
    sync_image: str = ""
    tensorboard_image: str = ""
    cron_image: str = ""
    serving_image: str = ""  # of `serve tensorflow`


def file() -> Path:
    named = os.environ.get("ARENA_CONFIG")
    return Path(named).expanduser() if named else Path.home() / ".arena/config"


def load() -> Settings:
    """No file: no settings. PROMETHEUS_* of the environment go before the file's. Raises ConfigError with file:line."""
    path = file()
    rows: dict[str, str] = {}
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("arena's configuration can't be read", where=str(path), why=str(error)) from error
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise ConfigError(f"{line!r} is not key=value", where=f"{path}:{number}", fix=f"keys: {', '.join(KEYS)}")
        rows[key] = value
    secrets = tuple(name.strip() for name in rows.get("imagePullSecrets", "").split(",") if name.strip())
    return Settings(
        rows.get("namespace", ""),
        secrets,
        os.environ.get("PROMETHEUS_ADDRESS") or rows.get("prometheus_address", ""),
        os.environ.get("PROMETHEUS_TOKEN") or rows.get("prometheus_token", ""),
        rows.get("logviewer_address", ""),
        *(_image(path, key, rows.get(key, "")) for key in KEYS if key.endswith("_image")),
    )


def _image(path: Path, key: str, text: str) -> str:
    """Raises ConfigError where it is no image."""
    try:
        return fields.image(key, text) if text else ""
    except ConfigError as error:
        raise ConfigError(error.what, where=str(path), why=error.why, fix=error.fix) from error
