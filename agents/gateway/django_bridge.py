"""Run Django's side of the agents' endpoints, enrollment and carves, so that agents understand whatever comes of it.

Agents ignore the HTTP status and take an error page for success. So an exception, or any status but 200, becomes what
makes them come again: `{"error": …}`; while they carve, a sentence that is no JSON, since JSON of any kind ends a begin
and passes for an accepted block (protocol notes 6.2, 6.3).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from agents.gateway.asgi_types import App, Message, Receive, Scope
from agents.gateway.body import Arrivals, Body, BodyRefusedError, Budget, ClientGoneError, Whole
from fleet.counting import counted

logger = logging.getLogger(__name__)

ENROLL_BYTES = 4 * 2**20  # host_details are a few KB
ENVELOPE_BYTES = 64 * 1024  # what stands around the data of a carve's block, generously


class Cold:
    """One endpoint that Django serves; bodies up to `limit` bytes are read before it is asked."""

    def __init__(self, app: App, path: str, limit: int, trouble: Callable[[str], bytes], budget: Budget) -> None:
        self._app, self._path, self._limit, self._trouble, self._budget = app, path, limit, trouble, budget
        self._arrivals = Arrivals()

    async def answer(self, scope: Scope, receive: Receive) -> bytes:
        """Give what the agent is to hear."""
        try:
            with Body(self._budget, self._arrivals, self._limit, self._limit) as body:
                content = await body.read(receive, partial(Whole, self._limit))
                if body.arrived > self._limit:
                    return self._trouble(f"the request has {counted(body.arrived, 'byte')}, allowed are {self._limit}")
                return await self._run(scope, bytes(content))
        except (BodyRefusedError, ClientGoneError) as error:
            return self._trouble(str(error))

    async def _run(self, scope: Scope, content: bytes) -> bytes:
        status, answer = 500, b""
        requests: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Message:
            if not requests:  # Django listens whether the client leaves; what it began is better finished
                await asyncio.Event().wait()
            return requests.pop()

        async def keep(message: Message) -> None:
            nonlocal status, answer
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                answer += message.get("body", b"")

        try:
            await self._app({**scope, "path": self._path, "raw_path": self._path.encode()}, receive, keep)
        except Exception:
            logger.exception("request failed path=%s", scope["path"])
        if status != 200:
            return self._trouble(f"the server cannot do this now (status {status}), come again")
        return answer
