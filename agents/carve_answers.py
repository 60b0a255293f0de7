"""What an agent that carves hears when the server cannot: a sentence that is no JSON, after which it comes again.

It has three attempts for a begin and for each block, a second and four seconds apart; `{"error": …}` would end a begin
at once and would pass for an accepted block, which would then be missing for good (protocol notes 6.2, 6.3).
"""

import logging

from agents.asgi_types import App, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

ENVELOPE_BYTES = 64 * 1024  # what stands around the data of a block, generously


def refusal(sentence: str) -> bytes:
    """Write a sentence so that it is surely no JSON."""
    return f"carve refused: {sentence}\n".encode()


class TroubleAsText:
    """Runs an app for agents that carve: an exception, or any status but 200, becomes a sentence that is no JSON.

    A body above what a block may need is cut off there: the app sees its client go, the agent the sentence.
    """

    def __init__(self, app: App, max_block_bytes: int) -> None:
        self._app = app
        self._limit = max_block_bytes * 2 + ENVELOPE_BYTES  # base64 makes four bytes of three

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, keep its answer back until it is whole, then pass it on or replace it."""
        status, body, size = 500, b"", 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message if size <= self._limit else {"type": "http.disconnect"}

        async def keep(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                body += message.get("body", b"")

        try:
            await self._app(scope, bounded, keep)
        except Exception:
            logger.exception("request failed path=%s", scope["path"])
        if size > self._limit:
            body = refusal(f"the request is larger than {self._limit} bytes")
        elif status != 200:
            body = refusal(f"the server cannot do this now (status {status}), come again")
        await _respond(send, body)


async def _respond(send: Send, body: bytes) -> None:
    kind = b"application/json" if body.startswith(b"{") else b"text/plain"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
