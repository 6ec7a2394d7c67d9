"""arena_dashboard --port 8443 --tls FOLDER --title CLUSTER --links FILE

FOLDER has tls.crt and tls.key; without it the pages are served without TLS, on the loopback alone. FILE has a JSON list
of {"title", "url"}. The API is that of the pod, or of $KUBECONFIG.
"""

from __future__ import annotations

import argparse
import json
import logging
import ssl
import sys
from pathlib import Path
from typing import NoReturn

from aiohttp import web

from arena_cli.kube import config
from arena_dashboard.server import Link, Server, Site
from arena_install.errors import ArenaError, ConfigError


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dashboard", description="The web pages of a cluster")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--tls", type=Path, help="a folder with tls.crt and tls.key")
    parser.add_argument("--title", default="Kubernetes")
    parser.add_argument("--links", type=Path, help='a JSON list of {"title", "url"}')
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        site = Site(given.title, _links(given.links), tls=given.tls is not None)
        app = Server(config.load, site).app()
        context = _context(given.tls) if given.tls else None
    except ArenaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    host = "0.0.0.0" if context else "127.0.0.1"
    web.run_app(
        app, host=host, port=given.port, ssl_context=context, access_log=None, print=None, handler_cancellation=True
    )
    return 0


def _links(file: Path | None) -> tuple[Link, ...]:
    if file is None:
        return ()
    try:
        return tuple(Link(str(row["title"]), str(row["url"])) for row in json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("the links can't be read", where=str(file), why=str(error)) from error


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    except OSError as error:  # an SSLError is one
        raise ConfigError("the certificate can't be used", where=str(folder), why=str(error)) from error
    return context


def run() -> NoReturn:
    """Entry point."""
    sys.exit(main(sys.argv[1:]))
