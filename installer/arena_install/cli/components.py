"""`arena-install components`."""

from __future__ import annotations

from arena_install.cli import options


def components(json: options.Json = False) -> None:
    """List what can be installed: host roles and cluster components, with versions and what each needs."""
    from arena_install.artifacts import load_lock
    from arena_install.cli.summary import tell_components
    from arena_install.paths import data_dir
    from arena_install.plan import load_roles
    from arena_install.stack import catalogue

    tell_components(load_roles(data_dir() / "roles"), catalogue(), load_lock(), as_json=json)
