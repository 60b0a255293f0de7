"""The protocol, by the SDK: which tools there are, and one call of one of them, which the audit tells of.

Nothing outlives a request: any console answers any call, and there is no session to steal or to keep.
"""

import asyncio
import json
import logging
from inspect import iscoroutinefunction
from typing import Any

import msgspec
from channels.db import database_sync_to_async
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, ToolAnnotations
from mcp_types import Tool as ToolTold

from agents.gateway.asgi_types import Receive, Scope, Send, whole
from campaigns.mcp import calls, shapes
from campaigns.mcp.callers import IN_SCOPE, Caller
from campaigns.mcp.calls import CallError
from campaigns.mcp.refusing import refuse
from campaigns.mcp.tools import TOOLS, UNTRUSTED, Tool
from fleet.audit import note
from fleet.audit.cleaning import cleaned, shortened
from fleet.audit.requests import serving
from fleet.errors import BadInputError
from fleet.refusals import error_response

logger = logging.getLogger(__name__)

NAME, VERSION = "fleet-live-queries", "1"
INSTRUCTIONS = (
    "Ask a fleet of machines questions in osquery's SQL and look at what they answered. Look up tables first, estimate,"
    f" then launch with a reason, follow, and read groups before rows. {UNTRUSTED}"
)
MOST_NOTED_BYTES = 64 * 2**10  # of the arguments of a call, in the audit: as much as SQL may have
MOST_NAME, MOST_SENTENCE = 100, 2_000  # characters, of what names a tool there, and of why it was refused
FAILED = "the server failed to answer this; its log says why"


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, of somebody the door let in. `fleet.front` read all of it: it comes in one message."""
    sent = await receive()
    try:
        await asyncio.to_thread(calls.check, scope, sent["body"])
    except CallError as wrong:
        await refuse(send, wrong.status, wrong.code, wrong.sentence, wrong.call)
        return
    manager = StreamableHTTPSessionManager(_server, json_response=True, stateless=True)  # names: the door looked
    async with manager.run():
        await manager.handle_request(scope, whole(sent["body"], receive), send)


async def _list(*_: Any) -> ListToolsResult:
    return ListToolsResult(tools=[_told(tool) for tool in TOOLS.values()])


def _told(tool: Tool) -> ToolTold:
    hints = ToolAnnotations(
        read_only_hint=tool.only_reads, destructive_hint=False, idempotent_hint=tool.only_reads, open_world_hint=True
    )
    schema = shapes.schema_of(tool.shape)
    return ToolTold(name=tool.name, title=tool.title, description=tool.says, input_schema=schema, annotations=hints)


async def _call(context: Any, params: CallToolRequestParams) -> CallToolResult:
    caller, arguments = Caller(context.request.scope[IN_SCOPE]), params.arguments or {}
    with serving(caller.request):
        try:
            await _note(caller, "tool.called", params, arguments=_kept(arguments))
            return _answer(await _run(caller, params.name, arguments))
        except Exception as error:
            sentence = _sentence(error)
            await _note(caller, "tool.refused", params, sentence=sentence)
            return CallToolResult(content=[TextContent(text=sentence)], is_error=True)


async def _run(caller: Caller, name: str, arguments: dict[str, Any]) -> Any:
    tool = TOOLS.get(name)
    if tool is None:
        raise BadInputError(f"there is no tool {name!r}, there are {', '.join(TOOLS)}")
    body = tool.shape(data=arguments)
    await database_sync_to_async(body.is_valid)(raise_exception=True)
    if iscoroutinefunction(tool.run):
        return await tool.run(caller, body)
    return await database_sync_to_async(tool.run)(caller, body)


def _answer(found: Any) -> CallToolResult:
    """Give it as text, and as the object it is for clients that take one."""
    text = msgspec.json.encode(found).decode()
    return CallToolResult(content=[TextContent(text=text)], structured_content=json.loads(text))


def _sentence(error: Exception) -> str:
    """Say why a call was refused, in the API's words; of what failed here the log has the rest."""
    refusal = error_response(error, {})
    if refusal is None:
        logger.error("tool failed", exc_info=error)
        return FAILED
    return shortened(refusal.data["error"], MOST_SENTENCE)


async def _note(caller: Caller, action: str, params: CallToolRequestParams, **more: Any) -> None:
    """Note a call before it is made: what cannot be noted is not done."""
    campaign = (params.arguments or {}).get("campaign")
    subject = f"campaign {campaign}" if isinstance(campaign, int) else f"tool {params.name}"
    details = {"tool": shortened(params.name, MOST_NAME), **more}
    await database_sync_to_async(note)(action, by=caller.user, subject=subject, request=caller.request, **details)


def _kept(arguments: dict[str, Any]) -> Any:
    """Give the arguments for the audit, which keeps them for good before anybody looked at them: as JSON, cut."""
    clean = cleaned(arguments)
    text = json.dumps(clean, ensure_ascii=False).encode()
    return clean if len(text) <= MOST_NOTED_BYTES else text[:MOST_NOTED_BYTES].decode("utf-8", "ignore") + "…"


_server: Server[Any] = Server(NAME, version=VERSION, instructions=INSTRUCTIONS, on_list_tools=_list, on_call_tool=_call)
