"""How the door refuses: the sentence is an error of JSON-RPC, which clients show, and of any other body nothing."""

import json
from collections.abc import Mapping
from typing import Any

from agents.gateway.asgi_types import Send


async def refuse(
    send: Send, status: int, code: int, sentence: str, call: Any = None, more: Mapping[str, str] | None = None
) -> None:
    """Answer so. `call` is the id of what is refused, None = it is not known; `more` are headers, in small letters."""
    error = {"code": code, "message": sentence}
    content = json.dumps({"jsonrpc": "2.0", "id": call, "error": error}).encode()
    fields = {**(more or {}), "content-type": "application/json", "content-length": str(len(content))}
    listed = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": content})
