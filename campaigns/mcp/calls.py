"""What is sent to the door is one call, in JSON to the letter as at the API, or a sentence says what is wrong with it.

The SDK takes members twice and depths that nothing bears, drops calls whose id it cannot read, and names no value.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import mcp_types
from mcp.server.streamable_http import check_accept_headers
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.methods import validate_client_request
from pydantic import ValidationError
from rest_framework.exceptions import ParseError
from starlette.requests import Request

from agents.gateway.asgi_types import Scope
from fleet.api.asking import StrictJson
from fleet.api.kinds import as_sent
from fleet.text import shown

JSON = "application/json"
META = ("params", "_meta")  # what the versions of the protocol are agreed on by, of which the SDK has words of its own


class CallError(Exception):
    """What was sent is no call; the sentence says why. `code` is that of JSON-RPC, `call` the id if it can be read."""

    def __init__(self, sentence: str, code: int, call: Any = None, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence, self.code, self.call, self.status = sentence, code, call, status


def check(scope: Scope, body: bytes) -> None:
    """Raise CallError for what is no call."""
    request = Request(scope)
    _check_kinds(request)
    try:
        sent = StrictJson().parse(BytesIO(body))
    except ParseError as error:
        raise CallError(str(error.detail), mcp_types.PARSE_ERROR) from error
    if not isinstance(sent, dict):
        raise CallError(
            f"the body is {as_sent(None, sent)}, expected is one call, an object", mcp_types.INVALID_REQUEST
        )
    _check_call(sent)
    if "id" in sent:
        version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER, mcp_types.DEFAULT_NEGOTIATED_VERSION)
        _check_params(sent, version)


def _check_kinds(request: Request) -> None:
    kind, accepted = (request.headers.get(name, "") for name in ("content-type", "accept"))
    if kind.partition(";")[0].strip() != JSON:
        raise CallError(
            f"Content-Type {shown(kind[:200])!r} is not taken here, only {JSON}", mcp_types.INVALID_REQUEST, status=415
        )
    if not check_accept_headers(request)[0]:
        raise CallError(
            f"Accept {shown(accepted[:200])!r} lets nobody answer: {JSON} is to be in it",
            mcp_types.INVALID_REQUEST,
            status=406,
        )


def _check_call(sent: Mapping[str, Any]) -> None:
    call = sent.get("id")
    if "id" in sent and not (isinstance(call, str) or type(call) is int):
        raise CallError(f"id {as_sent(None, call)} is neither a text nor a whole number", mcp_types.INVALID_REQUEST)
    rules: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "jsonrpc": ('"2.0"', lambda said: said == "2.0"),
        "method": ("the name of a method", lambda said: isinstance(said, str)),
        "params": ("an object", lambda said: said is None or isinstance(said, dict)),
    }
    for name, (wanted, fits) in rules.items():
        if not fits(sent.get(name)):
            said = f"{name} {as_sent(None, sent[name])} is not" if name in sent else f"{name} is missing, expected is"
            raise CallError(f"{said} {wanted}", mcp_types.INVALID_REQUEST, call)


def _check_params(sent: Mapping[str, Any], version: str) -> None:
    try:
        validate_client_request(sent["method"], version, sent.get("params"))
    except ValidationError as refused:
        wrong = [error for error in refused.errors() if error["loc"][:2] != META]
        if wrong:
            name = ".".join(map(str, wrong[0]["loc"]))
            is_missing = wrong[0]["type"] == "missing"
            said = (
                f"{name} is missing" if is_missing else f"{name} {as_sent(None, wrong[0]['input'])}: {wrong[0]['msg']}"
            )
            raise CallError(shown(said), mcp_types.INVALID_PARAMS, sent["id"]) from refused
    except (KeyError, ValueError):
        return  # there is no such method, or version: in the SDK's words, by which clients look for one that there is
