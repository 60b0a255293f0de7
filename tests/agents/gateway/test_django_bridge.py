"""Enrollment and carves through Django: whatever comes of it, the agent understands it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agents.gateway.asgi_types import App
from agents.gateway.body import Budget
from agents.gateway.django_bridge import Cold
from agents.protocol.messages import error, refusal

LIMIT = 1000
Answer = Callable[..., bytes]


@pytest.fixture
def answer(loop: asyncio.AbstractEventLoop) -> Answer:
    """Give what an agent hears when its body comes in these pieces."""

    def ask(app: App, *pieces: bytes, trouble: Callable[[str], bytes] = error) -> bytes:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1]["more_body"] = False
        coming = iter(messages)

        async def receive() -> dict[str, Any]:
            return next(coming)

        cold = Cold(app, "/api/osquery/enroll", LIMIT, trouble, Budget(10_000_000))
        return loop.run_until_complete(cold.answer({"path": "/api/v1/osquery/enroll/"}, receive))

    return ask


def app_that_answers(status: int, seen: list[Any]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], (await receive())["body"]))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"<ht", "more_body": True})
        await send({"type": "http.response.body", "body": b"ml>"})

    return app


async def crash(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("broken")


def test_the_app_is_given_the_whole_body_at_its_one_address(answer: Answer) -> None:
    seen: list[Any] = []

    assert answer(app_that_answers(200, seen), b'{"a":', b"1}") == b"<html>"
    assert seen == [("/api/osquery/enroll", b'{"a":1}')]


@pytest.mark.parametrize("status", [500, 404, 302])
def test_an_error_page_becomes_what_makes_the_agent_come_again(answer: Answer, status: int) -> None:
    said = json.loads(answer(app_that_answers(status, []), b"{}"))

    assert said == {"error": f"the server cannot do this now (status {status}), come again"}


def test_an_exception_becomes_what_makes_the_agent_come_again(answer: Answer) -> None:
    assert "error" in json.loads(answer(crash, b"{}"))
    assert answer(crash, b"{}", trouble=refusal).startswith(b"carve refused: the server cannot")


def test_a_body_above_the_limit_is_read_to_its_end_and_not_given_to_the_app(answer: Answer) -> None:
    seen: list[Any] = []
    said = answer(app_that_answers(200, seen), b"x" * 800, b"x" * 800)

    assert json.loads(said) == {"error": "the request has 1600 bytes, allowed are 1000"}
    assert seen == []


def test_whose_body_breaks_off_is_told_so(loop: asyncio.AbstractEventLoop) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    cold = Cold(crash, "/api/osquery/enroll", LIMIT, error, Budget(1000))
    said = loop.run_until_complete(cold.answer({"path": "/"}, gone))

    assert "broke off" in json.loads(said)["error"]
