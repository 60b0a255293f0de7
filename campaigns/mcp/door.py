"""Who is let in at /mcp: by a token alone, from a name of this server, as often as the API lets.

A page of another site reaches a server of this network by a name of its own that it lets point here; so names are
looked at before tokens are. Bodies were capped by `fleet.front` before.
"""

import asyncio
from importlib import import_module
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from channels.db import database_sync_to_async
from django.core.handlers.asgi import ASGIRequest
from rest_framework.authentication import get_authorization_header
from rest_framework.response import Response

from agents.gateway.asgi_types import Receive, Scope, Send
from campaigns.mcp.callers import IN_SCOPE
from campaigns.mcp.refusing import refuse
from campaigns.throttles import count, limits_of
from campaigns.watching.consumers import user_of_token
from fleet.addresses import is_ours
from fleet.audit.refusing import note_refusal
from fleet.errors import FleetError
from fleet.handler import one_thread
from fleet.refusals import error_response

PATHS = ("/mcp", "/mcp/")


class _MethodError(FleetError):
    """There is no stream to listen on, and no session to end."""

    status = 405


class _MisdirectedError(FleetError):
    """The request is for another server."""

    status = 421


class _OriginError(FleetError):
    """A page of another site sent it."""

    status = 403


class _UnknownError(FleetError):
    """Nobody is known by what was shown."""

    status = 401


REFUSED = -32000  # JSON-RPC's, of what a server refuses by rules of its own
MORE = {405: {"allow": "POST"}, 401: {"www-authenticate": "Bearer"}}


class Door:
    """Asks who is there, then lets the SDK answer. That is loaded when it is first needed: most consoles never do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request: Any = ASGIRequest(scope, BytesIO())
        async with one_thread():
            refusal = await self._refusal(request)
            if refusal is not None:
                status, fields = refusal.status_code, {name.lower(): value for name, value in refusal.items()}
                await refuse(send, status, REFUSED, str(refusal.data["error"]), more=fields | MORE.get(status, {}))
                return
            server = await asyncio.to_thread(import_module, "campaigns.mcp.server")  # a second, and 34 MB
            await server.serve({**scope, IN_SCOPE: request}, receive, send)

    async def _refusal(self, request: Any) -> Response | None:
        """Say as the API does why a request goes no further; None = it does."""
        try:
            _check_place(request)
            await database_sync_to_async(_let_in)(request)
        except Exception as error:
            refusal = error_response(error, {})
            if refusal is None:
                raise
            await database_sync_to_async(note_refusal)(request, refusal.status_code, refusal.data["error"])
            return refusal
        return None


def _check_place(request: ASGIRequest) -> None:
    """Raise FleetError for what is not sent to this server, or by a page of another one, or is no call."""
    host, origin = request.META.get("HTTP_HOST", ""), request.META.get("HTTP_ORIGIN")
    if not is_ours(host):
        raise _MisdirectedError(f"host {host[:200]!r} is no name of this server (ALLOWED_HOSTS)")
    if origin is not None and not is_ours(urlsplit(origin).netloc):
        raise _OriginError(f"origin {origin[:200]!r} is no name of this server (ALLOWED_HOSTS)")
    if request.method != "POST":
        raise _MethodError(f"{request.method} is not answered here, only POST: calls of the Model Context Protocol")


def _let_in(request: Any) -> None:
    """Put the person, narrowed to what his token is for, and the token at the request, as REST framework does."""
    scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
    user, shown = user_of_token(token.strip(), request.META) if scheme.lower() == "bearer" else (None, None)
    if user is None:
        raise _UnknownError(
            "Authorization: Bearer TOKEN is needed here, with a token of the API that has not expired and whose owner"
            " may sign in"
        )
    count(limits_of(user, shown, "request"))
    request.user, request.auth = user, shown
