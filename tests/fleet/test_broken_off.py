"""Answers that cannot go on: one that has begun is cut, so that nothing looks whole, and is a line of the log."""

import asyncio
import logging
from typing import Any

import pytest
import redis
import uvloop
from django.db import OperationalError

from fleet.asgi import Application
from fleet.errors import ForbiddenError
from fleet.front import STOPS
from fleet.serve import make_server, serve
from tests.ports import free_port


def _breaking_off(error: Exception) -> Any:
    async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
        await send({"type": "http.response.body", "body": b"host,pid\n", "more_body": True})
        raise error

    return breaks_off


async def _asked(port: int, path: str, method: str = "GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask as soon as somebody listens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer


@pytest.mark.parametrize(
    ("method", "advice", "comes_again"),
    [("GET", "ask again", True), ("POST", "see whether it was done before you ask again", False)],
)
def test_a_server_that_stops_tells_what_it_ends_and_lets_go_by_itself(
    method: str, advice: str, comes_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, port, begun = Application(None, people=True), free_port(), asyncio.Event()
    failures: list[dict[str, Any]] = []

    async def never_answers(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("fleet.asgi._django", never_answers)
    monkeypatch.setattr("fleet.serve.GRACE_SECONDS", 0.0)

    async def ask(stop: asyncio.Event) -> bytes:
        reader, writer = await _asked(port, "/api/v1/campaigns/", method)
        await begun.wait()
        stop.set()
        told = await reader.read()
        writer.close()
        return told

    async def served() -> tuple[bytes, list[Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        stop, server = asyncio.Event(), make_server(application, "127.0.0.1", port)
        asking = asyncio.ensure_future(ask(stop))
        await serve(application, [server], stop)
        return await asking, server.wrks

    told, left = uvloop.run(served())

    assert told.startswith(b"HTTP/1.1 503 ")
    assert (b"retry-after: 5" in told) is comes_again
    assert told.endswith(f'{{"error": "{STOPS}: {advice}"}}'.encode())
    assert (left, failures) == ([], [])


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("which hosts you may see has changed: ask for the file again"),
        OperationalError("terminating connection due to administrator command\n"),
        redis.ConnectionError("Connection closed by server."),
    ],
)
def test_an_answer_that_breaks_off_is_cut_and_is_one_line_of_the_log(
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    application, port = Application(None, people=True), free_port()
    monkeypatch.setattr("fleet.asgi._django", _breaking_off(error))

    async def take(stop: asyncio.Event) -> bytes:
        reader, writer = await _asked(port, "/api/v1/campaigns/1/export.csv")
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
    assert lines == [f"answer broken off path='/api/v1/campaigns/1/export.csv' reason={str(error).strip()}"]
    assert not any(record.exc_info for record in caplog.records)
    assert "Traceback" not in capfd.readouterr().err
