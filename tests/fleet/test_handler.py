"""One thread for each request, and none for what is over."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from fleet import handler
from fleet.handler import GONE, Handler, one_thread

closed: list[int] = []
gone: list[bool] = []
seen: list[int] = []  # threads, in the order in which they were at work
held, let_go = threading.Event(), threading.Event()


def note_thread(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> Any:
        seen.append(threading.get_ident())
        try:
            return get_response(request)
        finally:
            seen.append(threading.get_ident())

    return middleware


def in_pieces(_: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        for piece in (b"a", b"", b"c"):
            seen.append(threading.get_ident())
            yield piece

    return StreamingHttpResponse(pieces())


class Breaking(Iterator[bytes]):
    """A file that breaks off after its first piece."""

    def __init__(self) -> None:
        self._pieces = [b"a"]

    def __next__(self) -> bytes:
        if not self._pieces:
            raise ValueError("it breaks off")
        return self._pieces.pop()

    def close(self) -> None:
        closed.append(threading.get_ident())


def breaks_off(_: HttpRequest) -> StreamingHttpResponse:
    seen.append(threading.get_ident())
    return StreamingHttpResponse(Breaking())


def hold(request: HttpRequest) -> HttpResponse:
    held.set()
    assert let_go.wait(60)
    gone.append(GONE in request.META)
    seen.append(threading.get_ident())
    return HttpResponse()


def quick(_: HttpRequest) -> HttpResponse:
    seen.append(threading.get_ident())
    return HttpResponse(b"done")


urlpatterns = [path("in_pieces", in_pieces), path("breaks_off", breaks_off), path("hold", hold), path("quick", quick)]


@pytest.fixture(autouse=True)
def _of_this_file(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.note_thread"] * 2
    monkeypatch.setattr(handler, "_idle", type(handler._idle)())
    for noted in (closed, gone, seen):
        noted.clear()
    held.clear()
    let_go.clear()
    yield
    let_go.set()
    while handler._idle:
        handler._idle.pop().shutdown()


async def ask(app: Handler, address: str, left: asyncio.Event | None = None) -> list[bytes]:
    """Ask as a server does whose client stays, or goes when `left` is set; give the pieces of the answer."""
    pieces: list[bytes] = []
    asked = iter([{"type": "http.request", "body": b""}])

    async def receive() -> Any:
        if (message := next(asked, None)) is not None:
            return message
        await (left or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    head: dict[str, Any] = {"type": "http", "method": "GET", "path": address, "query_string": b"", "headers": []}
    await app(head, receive, send)
    return pieces


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not so():
            await asyncio.sleep(0.01)


async def test_a_request_stays_in_one_thread_which_the_next_one_is_given() -> None:
    app = Handler()

    assert await ask(app, "/in_pieces") == [b"a", b"", b"c", b""]
    await until(lambda: len(handler._idle) == 1)
    assert await ask(app, "/quick") == [b"done"]

    assert len(seen) == 7 + 5
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()


async def test_nobody_waits_behind_what_a_client_that_left_had_asked_for() -> None:
    app, left = Handler(), asyncio.Event()
    leaving = asyncio.create_task(ask(app, "/hold", left))
    assert await asyncio.to_thread(held.wait, 60)
    left.set()

    assert await ask(app, "/quick") == [b"done"]

    let_go.set()
    assert await leaving == []
    assert gone == [True]
    assert len(set(seen[2:7])) == 1
    assert seen[2:7] != seen[7:8] * 5


async def test_a_file_that_breaks_off_is_closed_where_it_was_opened() -> None:
    with pytest.raises(ValueError, match="it breaks off"):
        await ask(Handler(), "/breaks_off")

    assert closed == seen[2:3]


async def test_a_thread_is_given_on_once_what_ran_there_is_over() -> None:
    async with one_thread():
        first = await sync_to_async(threading.get_ident)()
        running = asyncio.ensure_future(sync_to_async(let_go.wait)(60))
        await asyncio.sleep(0)  # it has begun

    async with one_thread():
        assert await sync_to_async(threading.get_ident)() != first
    let_go.set()
    assert await running
    await until(lambda: len(handler._idle) == 2)


async def test_of_many_at_once_few_threads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "AT_ONCE", 2)
    app = Handler()
    asking = [asyncio.create_task(ask(app, "/hold")) for _ in range(5)]
    await until(lambda: len(seen) == 10)
    let_go.set()
    await asyncio.gather(*asking)

    threads = set(seen)
    assert len(threads) == 5
    await until(lambda: sum(thread.ident in threads for thread in threading.enumerate()) == 2)
    assert len(handler._idle) == 2
