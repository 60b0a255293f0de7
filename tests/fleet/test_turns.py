"""People's requests take turns: few compute at a time, and who waits for something keeps nobody from his turn."""

import asyncio
from typing import Any

import pytest

from fleet import turns
from fleet.front import PROBES
from fleet.turns import AT_ONCE, Turns

PATIENCE = 90


class Slow:
    """An app whose requests go on until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.let_go = asyncio.Event()
        self.heard = asyncio.Condition()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        async with self.heard:
            self.begun.append(scope["path"])
            self.heard.notify_all()
        if scope["path"] == "fails":
            raise ValueError
        if scope["path"] == "answers":
            await send({})
        if scope["path"] == "waits":
            await asyncio.to_thread(turns.give_up)
        await self.let_go.wait()

    async def until(self, many: int) -> None:
        async with self.heard:
            await asyncio.wait_for(self.heard.wait_for(lambda: len(self.begun) >= many), PATIENCE)


async def nothing(*_: Any) -> None:
    """Hear nothing, and send nowhere."""


def ask(app: Turns, *paths: str) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(app({"path": path}, nothing, nothing)) for path in paths]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_few_run_at_once_and_the_others_in_the_order_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600)

    async def story() -> list[str]:
        slow = Slow()
        tasks = ask(Turns(slow), *map(str, range(AT_ONCE + 3)))
        await settle()
        assert slow.begun == [str(number) for number in range(AT_ONCE)]
        slow.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        return slow.begun

    assert asyncio.run(story()) == [str(number) for number in range(AT_ONCE + 3)]


def test_who_asks_whether_the_process_lives_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600)

    async def story() -> None:
        slow = Slow()
        app = Turns(slow, at_once=PROBES)
        tasks = ask(app, *["computes"] * (AT_ONCE + 1)) + ask(app, *PROBES)
        await slow.until(AT_ONCE + len(PROBES))
        assert slow.begun == ["computes"] * AT_ONCE + [*PROBES]
        slow.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(story())


def test_who_takes_long_keeps_nobody_from_his_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.01)

    async def story() -> None:
        slow = Slow()
        tasks = ask(Turns(slow), *map(str, range(5 * AT_ONCE)))
        await slow.until(5 * AT_ONCE)
        slow.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(story())


@pytest.mark.parametrize("what", ["answers", "waits"])
def test_a_turn_ends_as_the_answer_begins_or_when_it_is_given_up(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600)

    async def story() -> None:
        slow = Slow()
        tasks = ask(Turns(slow), *[what] * (AT_ONCE + 1))
        await slow.until(AT_ONCE + 1)
        slow.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(story())


def test_a_turn_ends_once_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.01)

    async def story() -> None:
        slow = Slow()
        app = Turns(slow)
        failed, gone = ask(app, *["fails"] * AT_ONCE), ask(app, *["goes"] * AT_ONCE)
        await asyncio.wait(failed)
        await slow.until(2 * AT_ONCE)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        assert all(isinstance(task.exception(), ValueError) for task in failed)

        monkeypatch.setattr(turns, "TURN_SECONDS", 3600)
        slow.begun.clear()
        tasks = ask(app, *["comes"] * (AT_ONCE + 1))
        await settle()
        assert len(slow.begun) == AT_ONCE
        slow.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    asyncio.run(story())
