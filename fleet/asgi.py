"""The ASGI apps: `application` for one process, `gateway` and `console` for separate tiers of the same image.

Alone joins the halves: the agents' endpoints, Django, and the viewers' sockets.
"""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")

import django
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import got_request_exception
from django.http import Http404
from prometheus_client import Gauge
from rest_framework.exceptions import APIException

from agents.gateway.app import Gateway, GatewaySettings
from agents.gateway.asgi_types import Receive, Scope, Send
from agents.protocol.endpoints import verb_of
from fleet import metrics, monitors
from fleet.audit.refusing import note_refusal
from fleet.cancelling import end
from fleet.errors import FleetError, SetupError
from fleet.front import PROBES, BoundedSocket, Front
from fleet.handler import Handler
from fleet.outages import is_in_the_way, is_outage
from fleet.turns import Turns

django.setup(set_prefix=False)

from agents.enrolling.desk import Desk  # noqa: E402 - needs the apps to be loaded
from campaigns.mcp import door  # noqa: E402 - needs the apps to be loaded
from campaigns.operating import figures  # noqa: E402 - needs the apps to be loaded
from campaigns.watching.consumers import RESTARTING  # noqa: E402 - needs the apps to be loaded
from campaigns.watching.socket_urls import websocket_urlpatterns  # noqa: E402 - needs the apps to be loaded

logger = logging.getLogger(__name__)

FAREWELL_SECONDS = 1.0  # for viewers to hear that the server restarts
SOCKETS = Gauge("fleet_sockets", "Viewers' sockets that are open")
_sockets = SessionMiddlewareStack(URLRouter(websocket_urlpatterns))  # who it is of, each socket looks up itself


def _count_error(**_: Any) -> None:
    metrics.note_error(sys.exception())


got_request_exception.connect(_count_error)


async def _figures_of_house() -> bytes:
    """Give this process's figures with those of the whole installation, which PostgreSQL and Redis are asked for."""
    text: bytes = await database_sync_to_async(partial(metrics.text, figures.House()))()
    return text


async def _note_refusal(scope: Scope, sentence: str) -> None:
    await database_sync_to_async(note_refusal)(ASGIRequest(scope, BytesIO()), 401, sentence)


_django = Handler()
_tools = door.Door()


async def _for_people(scope: Scope, receive: Receive, send: Send) -> None:
    """Send what language models call to their door, everything else to Django.

    What is refused while its answer is under way, or is of a server that went away meanwhile, is cut off by the server:
    until then it would have been the answer.
    """
    try:
        await (_tools if scope["path"] in door.PATHS else _django)(scope, receive, send)
    except (FleetError, APIException, Http404) as reason:
        logger.info("answer broken off path=%r reason=%s", scope["path"], reason)
    except Exception as error:
        if not (is_outage(error) or is_in_the_way(error)):
            raise
        metrics.note_error(error)
        logger.warning("answer broken off path=%r reason=%s", scope["path"], str(error).strip())


def _gateway() -> Gateway:
    names = GatewaySettings.__dataclass_fields__
    return Gateway(GatewaySettings(**{name: getattr(settings, name.upper()) for name in names}), cold=Desk(_django))


async def _say_goodbye(send: Send) -> None:
    with suppress(Exception):  # he may have left in this very moment; servers differ in how they say so
        await send({"type": "websocket.close", "code": RESTARTING})


def _goes_by_the_edge(scope: Scope) -> bool:
    """Say whether an address that an edge may guard is written so that one that compares texts lets it through.

    `/api/%6fsquery/enroll` reaches who asks edges for agents' certificates as `/api/osquery/enroll` does.
    """
    written = scope.get("raw_path", b"")
    if b"%" not in written:
        return False
    return scope["path"] == monitors.PATH or (
        verb_of(scope["path"]) is not None and verb_of(written.decode("latin-1")) is None
    )


class Application:
    """Sends agents' requests to the gateway, everything else to Django and Channels."""

    def __init__(self, gateway: Gateway | None, *, people: bool) -> None:
        self._gateway = gateway
        self._people = people
        self._front = Front(Turns(_for_people, at_once=PROBES), people=people)
        figures_of = (_figures_of_house, _note_refusal) if people else (monitors.write, None)  # gateways write no audit
        self._metrics = monitors.Page(settings.METRICS_TOKEN, *figures_of)
        self._viewers: set[Send] = set()  # by which each is spoken to
        self._secrets = {name for name, needed in (("NODE_KEY_SECRETS", gateway), ("SECRET_KEY", people)) if needed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            if scope["type"] == "lifespan":
                await self._live(receive, send)
            elif scope["type"] == "http" and _goes_by_the_edge(scope):
                await _misspelt(scope, receive, send)
            elif scope["type"] == "http" and verb_of(scope["path"]) is not None:
                await (self._gateway or _no_agents)(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] == monitors.PATH:
                await self._metrics(scope, receive, send)
            elif scope["type"] == "http":
                await self._front(scope, receive, send)
            elif self._people:
                await self._watch(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 4404})
        except asyncio.CancelledError:
            return  # the server stops, or who asked has left; granian would print a traceback

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop as a server asks that speaks ASGI's lifespan."""
        await receive()
        try:
            await self.start()
        except SetupError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Begin to follow the board. Raise SetupError when a secret is missing."""
        if missing := ", ".join(sorted(self._secrets & settings.MISSING_SECRETS)):
            raise SetupError(f"not set: {missing}. Give it a long random value, or start with `make demo`")
        metrics.open_port(settings.METRICS_BIND, settings.METRICS_PORT)
        if self._gateway is not None:
            await self._gateway.start()

    async def let_go(self) -> None:
        """Answer held reads, spread over a second, and send viewers away: the server is about to stop."""
        self._front.let_go()
        farewells = [asyncio.ensure_future(_say_goodbye(send)) for send in self._viewers]
        if self._gateway is not None:
            await self._gateway.hold.close()
        if farewells:
            await asyncio.wait(farewells, timeout=FAREWELL_SECONDS)  # who does not listen holds nobody up
            await end(farewells)

    async def stop(self) -> None:
        """Let go of everything."""
        if self._gateway is not None:
            await self._gateway.stop()

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._viewers.add(send)
        SOCKETS.set(len(self._viewers))
        bounded = BoundedSocket(receive, send)
        try:
            await _sockets(scope, bounded.receive, bounded.send)
        finally:
            self._viewers.discard(send)
            SOCKETS.set(len(self._viewers))


_no_agents = Front(_django, people=False)
_misspelt = Front(_django, people=False, elsewhere="This address is served without percent signs alone.")
application = Application(_gateway(), people=True)
gateway = Application(_gateway(), people=False)
console = Application(None, people=True)
