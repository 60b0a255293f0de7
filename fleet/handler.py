"""Django's handler, each of whose requests stays in one thread, from its first middleware to the last piece of a file.

Django's own takes a turn in a thread for each middleware before and after the view, and asgiref begins threads anew for
each request: a fifth of what a launch cost the web server (docs/performance.md).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from fleet.turns import AT_ONCE

GONE = "FLEET_GONE"  # in META, once nobody waits for the answer: its client left, or the server stops
_idle: deque[ThreadPoolExecutor] = deque()  # of one thread each


@asynccontextmanager
async def one_thread() -> AsyncIterator[None]:
    """Let all that is thread-sensitive run in one thread; tasks that call it so end within.

    What a request whose client went away left behind there comes to its end before another one is given that thread.
    """
    thread = _idle.pop() if _idle else ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
    try:
        async with ThreadSensitiveContext(executor=thread):
            yield
    finally:
        thread.submit(_take_back, thread)


def _take_back(thread: ThreadPoolExecutor) -> None:
    close_old_connections()  # of what ended without a word
    if len(_idle) < AT_ONCE:
        _idle.append(thread)
    else:
        thread.shutdown(wait=False)


class InThread(BaseHandler):
    """The part that answers: middleware and view are called as by a server of threads. Apart for the tests' client."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain that is called in a thread, whoever asks for the other."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer one request; files are read piece by piece, where Django would read them to their end first."""
        try:
            response: HttpResponseBase = await sync_to_async(self.get_response)(request)
        except asyncio.CancelledError:
            request.META[GONE] = True
            raise
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _piece_by_piece(iter(response))
        return response


class Handler(InThread, ASGIHandler):
    """The ASGI app of Django's side."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        async with one_thread():
            await self.handle(scope, receive, send)

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send it; what breaks off on its way is closed as well, with its connection to PostgreSQL."""
        try:
            await super().send_response(response, send)
        except Exception:
            await sync_to_async(response.close)()
            raise


async def _piece_by_piece(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def next_piece() -> bytes | None:
        return next(pieces, None)

    while (piece := await sync_to_async(next_piece)()) is not None:
        yield piece
