"""`arena dashboard`."""

from __future__ import annotations

from arena_cli.command import Verb
from arena_cli.flags import Flag, Given

_SHORTEST, _LONGEST = 600, 12 * 3600  # seconds; the API server gives none for less, a login lasts no longer


def _run(given: Given) -> None:
    import sys

    from arena_cli import dashboard
    from arena_cli.session import Session
    from arena_install.errors import ConfigError

    seconds = given.seconds("duration")
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigError(f"--duration: {given.text('duration')} is not from 10m to 12h", fix="write 8h")
    session = Session(given)
    base = dashboard.address(session.client)
    if not base:
        raise dashboard.missing()
    made = dashboard.token(session.client, session.namespace, seconds)
    # The token alone is the output, so that it can go through a pipe.
    print(f"{base}/", file=sys.stderr)
    if base.endswith("localhost:8443"):
        print(f"note: reached while this runs: {dashboard.FORWARD}", file=sys.stderr)
    print(f"Log in with this token. It is good for {given.text('duration')}, and can only look:", file=sys.stderr)
    print(made)


verb = Verb(
    "dashboard",
    "Print where the cluster's web pages are, and a token to log in there.",
    (Flag("duration", "time", "How long the token is good for, from 10m to 12h.", "8h", ours=True),),
    _run,
)
