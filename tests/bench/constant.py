"""What the idle check-in is compared with: an ASGI app that reads the body and answers `{}`."""

from typing import Any

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"connection", b"close")]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request alike."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})
