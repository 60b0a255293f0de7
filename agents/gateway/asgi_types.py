"""The shapes of ASGI, named once, and a body that was read as the next reader takes it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def whole(content: bytes, receive: Receive) -> Receive:
    """Give the body in one message, then whatever comes, which is that the client left."""
    messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive_whole() -> Message:
        return messages.pop() if messages else await receive()

    return receive_whole
