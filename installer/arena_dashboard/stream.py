"""A pod's log as it comes: asked for by aiohttp, so that a reader who goes away ends the question to the API too."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from arena_cli.kube.client import ApiError, Client, at

_CONNECT = 10.0  # seconds
TAIL = 2000  # lines that a followed log begins with


async def lines(
    client: Client, namespace: str, pod: str, container: str, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    """Pieces of the log. Raises ApiError where the API refuses, aiohttp.ClientError where it does not answer."""
    query: dict[str, str] = {"follow": "true", "tailLines": str(TAIL)} if follow else {}
    if container:
        query["container"] = container
    url = f"{client.access.server}{at('v1', 'pods', namespace, pod, 'log')}"
    headers = {"Authorization": f"Bearer {client.access.token}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
    secure: Any = client.tls if client.tls is not None else True
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, params=query, headers=headers, ssl=secure) as answer,
    ):
        if answer.status >= 400:
            said = await answer.text()
            raise ApiError("the log can't be read", answer.status, "", said[:300])
        async for piece in answer.content.iter_any():
            yield piece
