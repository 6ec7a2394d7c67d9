"""Which page a request is for, and whether who asks may see it: without a login, there is nothing but the login."""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from markupsafe import escape

from arena_cli.kube.client import ApiError, Client, UnknownError, at
from arena_cli.kube.config import Access
from arena_cli.logs import speaking
from arena_cli.look import formats, text
from arena_cli.look.show import event_time
from arena_cli.look.text import age
from arena_dashboard import overview, stream
from arena_dashboard.installed import Installed
from arena_dashboard.people import LONGEST, People, Person
from arena_install.errors import ArenaError, ConfigError, UnreachableError

if TYPE_CHECKING:
    from jinja2 import Environment

COOKIE = "dashboard"
_PERSON = web.RequestKey("person", Person)
_OPEN = ("/login", "/style.css", "/healthz")  # what is there without a login
_HEADERS = {
    # No script, no picture, nothing from elsewhere; a log is a page in a frame of the job's.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all, forms come without their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SMALL = 64 * 1024  # bytes of what may be sent here: a token is a few kilobytes
_REFRESH = 15  # seconds until a browser asks for a page again

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Link:
    title: str
    url: str


@dataclass(frozen=True)
class Site:
    """title: the cluster's name. links: to what else there is. tls: whether browsers come by HTTPS."""

    title: str
    links: Sequence[Link] = ()
    tls: bool = True


class Server:
    """access: tells how the API is reached, and gives the server's own account."""

    def __init__(self, access: Callable[[], Access], site: Site) -> None:
        self._people, self._site = People(access()), site
        self._installed = Installed(lambda: Client(access()))

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=_SMALL)
        app.router.add_get("/", self._overview)
        app.router.add_get("/login", self._login)
        app.router.add_post("/login", self._enter)
        app.router.add_post("/logout", self._leave)
        app.router.add_get("/jobs/{namespace}/{job}", self._job)
        app.router.add_get("/jobs/{namespace}/{job}/{pod}", self._job)
        app.router.add_get("/logs/{namespace}/{pod}", self._log)
        app.router.add_get("/logs/{namespace}/{pod}/text", self._whole_log)
        app.router.add_get("/style.css", _style)
        app.router.add_get("/healthz", _health)
        app.on_response_prepare.append(self._protect)
        return app

    async def _protect(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        if self._site.tls:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST" and not _from_here(request):
            return self._page("error.html.j2", 403, what="this was not sent by a page of this server")
        if request.path not in _OPEN:
            person = self._people.find(request.cookies.get(COOKIE, ""))
            if person is None:
                return self._turned_away(request)
            request[_PERSON] = person
        try:
            return await handler(request)
        except web.HTTPException as error:
            return self._page("error.html.j2", error.status, what=error.reason, person=request.get(_PERSON))
        except UnknownError:  # the token has ended since
            self._people.leave(request.cookies.get(COOKIE, ""))
            return self._turned_away(request)
        except aiohttp.ClientError as error:
            return self._page("error.html.j2", 502, what="the cluster does not answer", why=str(error))
        except ArenaError as error:
            return self._page(
                "error.html.j2", _status(error), what=error.what, why=error.why, person=request.get(_PERSON)
            )

    def _turned_away(self, request: web.Request) -> web.Response:
        """A browser is shown the way to the login, and back."""
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            back = request.path_qs if request.path != "/" else ""
            return self._page("login.html.j2", 401, back=back, error="")
        return web.Response(status=401, text="log in at /login\n")

    async def _login(self, request: web.Request) -> web.Response:
        return self._page("login.html.j2", 200, back="", error="")

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        sent = await request.post()
        back = _local(str(sent.get("back", "")))
        try:
            id, person = await asyncio.to_thread(self._people.enter, str(sent.get("token", "")))
        except UnknownError:
            error = "the cluster does not know this token: it may have expired"
            return self._page("login.html.j2", 401, back=back, error=error)
        except UnreachableError as found:
            return self._page("login.html.j2", 503, back=back, error=f"{found.what}: {found.why}")
        except ArenaError as found:
            return self._page("login.html.j2", 400, back=back, error=f"{found.what}: {found.why}")
        answer = web.Response(status=303, headers={"Location": back or "/"})
        answer.set_cookie(
            COOKIE,
            id,
            max_age=max(1, int(min(LONGEST, person.until - time.time()))),
            httponly=True,
            secure=self._site.tls,
            samesite="Strict",
        )
        return answer

    async def _leave(self, request: web.Request) -> web.StreamResponse:
        self._people.leave(request.cookies.get(COOKIE, ""))
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie(COOKIE)
        return answer

    async def _overview(self, request: web.Request) -> web.Response:
        person = request[_PERSON]
        seen, (components, note) = await asyncio.gather(
            asyncio.to_thread(overview.overview, person), asyncio.to_thread(self._installed.look)
        )
        return self._page(
            "overview.html.j2", person=person, seen=seen, components=components, note=note, refresh=_REFRESH
        )

    async def _job(self, request: web.Request) -> web.Response:
        person = request[_PERSON]
        names = request.match_info
        seen = await asyncio.to_thread(
            overview.job_page, person, names["namespace"], names["job"], request.query.get("type", "")
        )
        job = seen.job
        wanted = names.get("pod") or (job.chief.name if job.chief else "")
        chosen = next((one for one in job.instances if one.name == wanted), None)
        if names.get("pod") and chosen is None:
            raise ConfigError(f"the job {job.name} has no instance {wanted}", why="its pods are on the job's page")
        # What waits changes by itself; a log that is being read must not begin again.
        reading = chosen is not None and chosen.status not in ("Pending", "Unknown")
        pods = {one.name: f"{job.namespace}/{one.name}" for one in job.instances}
        gpus = {name: [gpu for gpu in seen.monitoring.gpus if pod in gpu.holders] for name, pod in pods.items()}
        alerts = [alert for alert in seen.monitoring.alerts if {*pods.values()} & {*alert.pods}]
        return self._page(
            "job.html.j2",
            person=person,
            seen=seen,
            job=job,
            chosen=chosen,
            reading=reading,
            head=formats.head(job, seen.at),
            gpus=gpus,
            alerts=alerts,
            refresh=0 if reading else _REFRESH // 3,
        )

    async def _log(self, request: web.Request) -> web.StreamResponse:
        """The log as a page that grows while the pod speaks: a browser shows what has come."""
        person, namespace, pod, container = await self._speaking(request)
        answer = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
        top, bottom = _environment().get_template("log.html.j2").render(pod=pod).split("LOG", 1)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async with aclosing(stream.lines(person.client, namespace, pod, container, follow=True)) as pieces:
            first = await anext(pieces, b"")  # what is refused is an error page still
            await answer.prepare(request)
            await answer.write(f"{top}{escape(decoder.decode(first))}".encode())
            try:
                async with asyncio.timeout(person.until - time.time()):
                    async for piece in pieces:
                        await answer.write(str(escape(decoder.decode(piece))).encode())
            except TimeoutError:
                bottom = f"\n(the login has ended){bottom}"
            except aiohttp.ClientError:
                bottom = f"\n(the connection to the cluster broke: load the page again){bottom}"
        await answer.write(bottom.encode())
        await answer.write_eof()
        return answer

    async def _whole_log(self, request: web.Request) -> web.StreamResponse:
        person, namespace, pod, container = await self._speaking(request)
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{pod}.log"',
            }
        )
        async with aclosing(stream.lines(person.client, namespace, pod, container, follow=False)) as pieces:
            first = await anext(pieces, b"")
            await answer.prepare(request)
            await answer.write(first)
            async for piece in pieces:
                await answer.write(piece)
        await answer.write_eof()
        return answer

    async def _speaking(self, request: web.Request) -> tuple[Person, str, str, str]:
        """(who, namespace, pod, container)"""
        person = request[_PERSON]
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        obj = await asyncio.to_thread(person.client.get, at("v1", "pods", namespace, pod))
        return person, namespace, str(obj["metadata"]["name"]), speaking(obj)

    def _page(self, template: str, status: int = 200, **given: Any) -> web.Response:
        given = {"person": None, "refresh": 0, "why": "", "at": time.time(), **given}
        body = _environment().get_template(template).render(site=self._site, **given)
        return web.Response(status=status, text=body, content_type="text/html")


def _from_here(request: web.Request) -> bool:
    """Browsers say from which page a form was sent."""
    origin = request.headers.get("Origin", "")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return site in ("same-origin", "none") and (not origin or urlsplit(origin).netloc == request.host)


def _local(path: str) -> str:
    """Back to a page of ours, and nowhere else."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else ""


def _status(error: ArenaError) -> int:
    if isinstance(error, ApiError):
        return error.status if error.status in (403, 404) else 502
    return 404 if isinstance(error, ConfigError) else 502


async def _style(request: web.Request) -> web.Response:
    text = files("arena_dashboard").joinpath("templates/style.css").read_text("utf-8")
    return web.Response(text=text, content_type="text/css")


async def _health(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from arena_install.templates import environment

    made = environment("arena_dashboard", "templates")
    made.filters["age"] = lambda seconds: age(seconds)
    made.filters["clock"] = lambda moment: time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
    made.globals["event_time"] = event_time
    made.globals["allocated"] = formats.allocated
    made.globals["text"] = text
    return made
