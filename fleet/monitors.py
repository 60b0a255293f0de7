"""`/metrics` of the tiers that people and agents reach: for who bears METRICS_TOKEN alone."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from fleet import headers, metrics

PATH = "/metrics"
UNKNOWN = "figures are for who bears METRICS_TOKEN: Authorization: Bearer TOKEN"
Refused = Callable[[Any, str], Awaitable[None]]  # what was asked, and the sentence


class Page:
    """`/metrics` of a tier, for who bears the token; without a token nobody does. `write` gives the text.

    `refused` is told of who does not bear it, with the sentence; None = nobody is.
    """

    def __init__(self, token: str, write: Callable[[], Awaitable[bytes]], refused: Refused | None = None) -> None:
        self._token, self._write, self._refused = token, write, refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request (a raw ASGI app)."""
        status, body = await self._answer(scope)
        kind = CONTENT_TYPE_LATEST if status == 200 else "text/plain; charset=utf-8"
        fields = {"content-type": kind, "content-length": str(len(body)), "cache-control": "no-store"}
        if status == 401:
            fields["www-authenticate"] = "Bearer"
        fields |= headers.missing(scope["path"], fields, is_secure=scope.get("scheme") == "https")
        listed = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Any) -> tuple[int, bytes]:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, b"this address is read with GET\n"
        if not self._token:
            return 404, b"no figures are served here: METRICS_TOKEN is not set\n"
        if not self._is_shown(dict(scope["headers"]).get(b"authorization", b"")):
            if self._refused is not None:
                await self._refused(scope, UNKNOWN)
            return 401, f"{UNKNOWN}\n".encode()
        return 200, await self._write()

    def _is_shown(self, shown: bytes) -> bool:
        scheme, _, token = shown.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token.encode())


async def write() -> bytes:
    """Give the figures from a thread: reading them may ask servers."""
    return await asyncio.to_thread(metrics.text)
