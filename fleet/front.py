"""What stands in front of Django: it sees no body that is too large or too slow, and no answer leaves without headers.

Django writes a body of any size to a file before anybody asked who sent it. So every body is read here first, within a
cap by kind of address, a deadline, and memory that all bodies share. Agents never come by: theirs are read by
`agents.gateway.body`, which has to go on to the end of what is refused.
"""

import asyncio
import json
import logging
from io import BytesIO
from typing import NamedTuple

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.utils.datastructures import CaseInsensitiveMapping

from agents.gateway.asgi_types import App, Message, Receive, Scope, Send, whole
from agents.gateway.body import BodyRefusedError, Budget, Whole
from fleet import headers
from fleet.counting import counted, plural

logger = logging.getLogger(__name__)

PROBES = ("/livez", "/readyz")
LOOKING = ("GET", "HEAD")
FREE_BYTES = 16 * 2**10  # of each body, which the shared memory is not asked for: nearly all are smaller
SIGN_IN_BYTES = 64 * 2**10
LINGER_BYTES, LINGER_SECONDS = 2**20, 1.0  # read on after a refusal: who still sends would not see it
MAX_FRAME_BYTES = 64 * 2**10  # of a viewer's socket, on which viewers have nothing to say
TOO_BIG = 1009  # of RFC 6455
STOPS = "the server is being restarted, and this took too long to be waited for"


class Kind(NamedTuple):
    """What addresses that begin alike take; no bytes means that nothing but looking is done there."""

    begin: str
    max_bytes: int


def _kinds() -> tuple[Kind, ...]:
    looked_at = (*PROBES, "/static/", "/api/docs/", "/api/schema/")
    return (
        *(Kind(begin, 0) for begin in looked_at),
        Kind("/login/", SIGN_IN_BYTES),
        Kind("/admin/login/", SIGN_IN_BYTES),
        Kind("/api/", settings.API_BODY_BYTES),
        Kind("/mcp", settings.API_BODY_BYTES),
        Kind("/", settings.FORM_BODY_BYTES),
    )


class RefusedError(Exception):
    """The request goes no further; the sentence says why."""

    def __init__(self, status: int, sentence: str, **more: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, more


class Front:
    """Passes on to `app` what it may see. On a tier that is not for people that is the question whether it lives.

    `elsewhere` is what is said there of every other address.
    """

    def __init__(self, app: App, *, people: bool, elsewhere: str = "This address is served by another tier.") -> None:
        self._app = app
        self._elsewhere = elsewhere
        self._people = people
        self._kinds = _kinds()
        self._budget = Budget(settings.FORM_BODIES_BYTES)
        self._lets_go = False

    def let_go(self) -> None:
        """Tell who is ended from now on that the server stops."""
        self._lets_go = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        send = answer = _Answer(_with_headers(scope, send))
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            if answer.begun or not self._lets_go:
                raise
            await _refuse(scope, _restarting(scope), send, people=self._people)
            await send({"type": "http.response.body", "body": b""})
        except RefusedError as refusal:
            if refusal.status != 404:
                logger.info("refused method=%s path=%r reason=%s", scope["method"], scope["path"], refusal.sentence)
            await _refuse(scope, refusal, send, people=self._people)
            if refusal.status != 408:
                await _linger(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._people and scope["path"] not in PROBES:
            raise RefusedError(404, self._elsewhere)
        limit = next((kind.max_bytes for kind in self._kinds if scope["path"].startswith(kind.begin)), 0)
        if not limit and scope["method"] not in LOOKING:
            sentence = f"{scope['method']} is not answered here, only {' and '.join(LOOKING)}"
            raise RefusedError(405, sentence, allow=", ".join(LOOKING))
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:18]) > limit:
            raise _too_large(scope, limit)
        with _Share(self._budget) as share:
            content = await self._read(scope, receive, limit, share)
            await self._app(scope, whole(content, receive), send)

    async def _read(self, scope: Scope, receive: Receive, limit: int, share: "_Share") -> bytes:
        """Give the whole body. Raise RefusedError."""
        keeper, more = Whole(limit), True
        try:
            async with asyncio.timeout(settings.BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "the body broke off before its end, or is not what HTTP allows")
                    piece, more = message.get("body", b""), message.get("more_body", False)
                    if keeper.held + len(piece) > limit:
                        raise _too_large(scope, limit)
                    keeper.feed(piece)
                    share.grow_to(keeper.held)
        except TimeoutError:
            sentence = (
                f"the body did not arrive within {settings.BODY_SECONDS:g} {plural(settings.BODY_SECONDS, 'second')}"
            )
            raise RefusedError(408, sentence) from None
        except BodyRefusedError as error:
            raise RefusedError(503, str(error), retry_after="5") from error
        return bytes(keeper.content())


class _Answer:
    """Sends, and knows whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


class _Share:
    """What one body takes of the memory that all share."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._held = budget, 0

    def __enter__(self) -> "_Share":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._held)

    def grow_to(self, size: int) -> None:
        """Take what is missing. Raise BodyRefusedError when others hold the rest."""
        if size > FREE_BYTES:
            self._budget.take(size - self._held, self._held)
            self._held = size


def _too_large(scope: Scope, limit: int) -> RefusedError:
    allowed = f"a body of at most {counted(limit, 'byte')} is" if limit else "no body is"
    return RefusedError(413, f"the body is too large: {allowed} taken at {scope['path'][:200]}")


def _restarting(scope: Scope) -> RefusedError:
    """Programs take Retry-After for a word that nothing was done: threads of what was ended go on to their end."""
    if scope["method"] in LOOKING:
        return RefusedError(503, f"{STOPS}: ask again", retry_after="5")
    return RefusedError(503, f"{STOPS}: see whether it was done before you ask again")


async def _refuse(scope: Scope, refusal: RefusedError, send: Send, *, people: bool) -> None:
    """Answer, and let the connection be closed: what still comes on it is no request."""
    is_api = scope["path"].startswith(("/api/", "/mcp"))
    if is_api:
        kind, body = "application/json", json.dumps({"error": refusal.sentence})
    elif people and b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        kind, body = "text/html; charset=utf-8", _page(scope, refusal)
    else:
        kind, body = "text/plain; charset=utf-8", f"{refusal.sentence}\n"
    fields = {
        "content-type": kind,
        "content-length": str(len(body.encode())),
        "connection": "close",
        **refusal.headers,
    }
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": listed})
    await send({"type": "http.response.body", "body": body.encode(), "more_body": True})


def _page(scope: Scope, refusal: RefusedError) -> str:
    """Give the page that says it to a browser, in its colours."""
    from fleet import refusals  # once Django is set up: this module is there before

    request = ASGIRequest(scope, BytesIO())
    page = refusals.failed_page(request, refusal.status, refusal=refusal.sentence, is_too_large=refusal.status == 413)
    return page.content.decode()


async def _linger(receive: Receive) -> None:
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _with_headers(scope: Scope, send: Send) -> Send:
    """Add what an answer lacks: not every answer of Django's comes by its middleware."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = list(message.get("headers", ()))
            present = CaseInsensitiveMapping({name.decode("latin-1"): value.decode("latin-1") for name, value in sent})
            lacking = headers.missing(scope["path"], present, is_secure=_is_secure(scope))
            replaced = {name.lower().encode() for name in lacking}
            kept = [pair for pair in sent if pair[0].lower() not in replaced]
            added = [(name.lower().encode(), value.encode()) for name, value in lacking.items()]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return send_with_headers


def _is_secure(scope: Scope) -> bool:
    if scope.get("scheme") == "https":
        return True
    said = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    return settings.SECURE_PROXY_SSL_HEADER is not None and said == b"https"


class BoundedSocket:
    """A viewer's socket, on which viewers have nothing to say: large messages close it, and nothing is read after that.

    The server gathers a message before anybody sees it, of at most 64 MiB in frames of at most 16 MiB; these are
    constants of its own. So it is asked for no more once the socket was closed, as it is at once for strangers.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._close_code: int | None = None

    async def send(self, message: Message) -> None:
        """Send, and see whether that is the end."""
        if message["type"] == "websocket.close":
            self._close_code = message.get("code", 1000)
        await self._send(message)

    async def receive(self) -> Message:
        """Give the next message, or that the socket was closed."""
        if self._close_code is None:
            message = await self._receive()
            if message["type"] != "websocket.receive" or _bytes_of(message) <= MAX_FRAME_BYTES:
                return message
            reason = f"frames have at most {MAX_FRAME_BYTES} bytes"
            await self.send({"type": "websocket.close", "code": TOO_BIG, "reason": reason})
        return {"type": "websocket.disconnect", "code": self._close_code}


def _bytes_of(message: Message) -> int:
    text = message.get("text") or ""
    return max(len(message.get("bytes") or b""), len(text) if len(text) > MAX_FRAME_BYTES else len(text.encode()))
