"""Answers under way that cannot go on: the connection is cut, so that nothing looks whole, and the log has one line."""

import asyncio
import logging
from typing import Any

import pytest
import uvloop

from fleet.asgi import Application
from fleet.errors import ForbiddenError
from fleet.serve import make_server, serve
from tests.ports import free_port


async def _breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
    await send({"type": "http.response.body", "body": b"host,pid\n", "more_body": True})
    raise ForbiddenError("which hosts you may see has changed: ask for the file again")


def test_an_answer_that_breaks_off_is_cut_and_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, port = Application(None, people=True), free_port()
    monkeypatch.setattr("fleet.asgi._django", _breaks_off)

    async def take(stop: asyncio.Event) -> bytes:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
        writer.write(b"GET /api/v1/campaigns/1/export.csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = await reader.read()
        writer.close()
        stop.set()
        return told

    async def taken() -> bytes:
        stop = asyncio.Event()
        taking = asyncio.ensure_future(take(stop))
        await serve(application, [make_server(application, "127.0.0.1", port)], stop)
        return await taking

    with caplog.at_level(logging.INFO):
        told = uvloop.run(taken())

    assert b"host,pid" in told
    assert not told.endswith(b"0\r\n\r\n")  # the last chunk, by which a client knows that it has all
    lines = [record.getMessage() for record in caplog.records if "export.csv" in record.getMessage()]
    assert lines == [
        "answer broken off path='/api/v1/campaigns/1/export.csv'"
        " reason=which hosts you may see has changed: ask for the file again"
    ]
    assert not any(record.exc_info for record in caplog.records)
