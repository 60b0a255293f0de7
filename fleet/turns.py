"""People's requests take turns at the interpreter, so that agents and viewers, whom one event loop serves, get theirs.

Each request runs in a thread, and threads that compute pass the interpreter on every 5 ms: beside 32 of them the loop
would come to its turn six times a second. A few at a time are done as soon, since they share that interpreter anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from typing import Any

App = Callable[..., Awaitable[None]]  # of ASGI

AT_ONCE = 8  # enough to keep PostgreSQL busy while one of them computes
TURN_SECONDS = 0.5  # whoever takes longer waits for something, and keeps nobody else from his turn


class Turns:
    """Passes requests on to `app`, in the order they came.

    Those of `at_once`, paths, wait for nobody: who asks whether a busy process lives would take it for dead.
    """

    def __init__(self, app: App, at_once: Collection[str] = ()) -> None:
        self._app, self._at_once = app, at_once
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request when it is its turn, which ends as its answer begins: who reads slowly costs nothing."""
        if scope["path"] in self._at_once:
            await self._app(scope, receive, send)
            return
        await self._free.acquire()
        turn = _Turn(self._free)
        over = turn.loop.call_later(TURN_SECONDS, turn.end)
        _own.set(turn)

        async def answer(message: Any) -> None:
            turn.end()
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            over.cancel()
            turn.end()


def give_up() -> None:
    """End the turn of this request, if it is one: from here on it waits for others. Any thread of it may call this."""
    turn = _own.get()
    if turn is not None:
        turn.loop.call_soon_threadsafe(turn.end)


class _Turn:
    """One of those that are under way; it ends once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self.loop = asyncio.get_running_loop()
        self._free: asyncio.Semaphore | None = free

    def end(self) -> None:
        """Let the next request have its turn."""
        if self._free is not None:
            self._free.release()
            self._free = None


_own: ContextVar[_Turn | None] = ContextVar("turn", default=None)
