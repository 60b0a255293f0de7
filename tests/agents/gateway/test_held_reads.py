"""Held reads by themselves: none is forgotten, none is woken twice, and waking never blocks the loop."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from agents.board.bitmaps import BITMAP_BYTES, bitmap_of
from agents.gateway.held_reads import WAKE_EVERY_SECONDS, Hold

EVERYBODY = {0: b"\xff" * BITMAP_BYTES}


@pytest.fixture
async def hold() -> AsyncIterator[Hold]:
    """Give room for 20,000 reads, of which 12 are woken in one step."""
    made = Hold(20_000, 600)
    yield made
    await made.close()


async def test_a_wake_that_comes_before_the_wait_is_kept(hold: Hold) -> None:
    """The waiter is registered before the bit is looked at, so new work may come between the two."""
    waiter = hold.enter(7)
    hold.wake_host(7)

    await asyncio.wait_for(waiter.wait(600), 90)

    assert not waiter.released


async def test_only_hosts_with_new_work_are_woken(hold: Hold) -> None:
    waiters = {host: hold.enter(host) for host in (7, 8, 65_536 + 7)}

    hold.wake({0: bitmap_of([7])})

    await asyncio.wait_for(waiters[7].wait(600), 90)
    for host in (8, 65_536 + 7):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiters[host].wait(60), 0.05)


async def test_waking_keeps_its_pace_and_wakes_nobody_twice(hold: Hold) -> None:
    woken: list[int] = []

    async def hold_one(host: int) -> None:
        await hold.enter(host).wait(600)
        woken.append(host)

    reads = [asyncio.create_task(hold_one(host)) for host in range(60)]
    while len(hold) < 60:
        await asyncio.sleep(0)

    began = time.monotonic()
    for _ in range(5):
        hold.wake(EVERYBODY)
    await asyncio.wait_for(asyncio.gather(*reads), 90)

    assert woken == list(range(60))
    assert time.monotonic() - began >= 4 * WAKE_EVERY_SECONDS, "five steps of twelve"


async def test_fifteen_thousand_are_woken_without_blocking_the_loop(hold: Hold) -> None:
    for host in range(15_000):
        hold.enter(host * 4)
    longest, looked_at = 0.0, time.thread_time()

    hold.wake(EVERYBODY)
    for _ in range(20):
        await asyncio.sleep(0.001)
        longest, looked_at = max(longest, time.thread_time() - looked_at), time.thread_time()

    assert longest < 0.05, "seconds of the processor"


async def test_a_read_that_leaves_makes_room_and_takes_no_newer_one_off(hold: Hold) -> None:
    older, newer = hold.enter(7), hold.enter(7)

    hold.leave(7, older)
    while_the_newer_is_held = len(hold)
    hold.leave(7, newer)

    assert (while_the_newer_is_held, len(hold)) == (1, 0)


async def test_the_newest_read_of_a_host_stays_and_the_older_is_told_that_nobody_waits(hold: Hold) -> None:
    older = hold.enter(7)
    newer = hold.enter(7)

    hold.leave(7, older)

    assert (older.released, older.deserted, newer.released) == (True, True, False)
    assert len(hold) == 1


async def test_a_server_that_stops_ends_every_read_within_a_second_and_holds_no_more(hold: Hold) -> None:
    waiters = [hold.enter(host) for host in range(5_000)]
    hold.wake(EVERYBODY)

    began = time.monotonic()
    await hold.close()

    assert time.monotonic() - began < 10, "0.8 s, and whatever a busy machine adds: they are held for longer"
    assert all(waiter.released and not waiter.deserted for waiter in waiters)
    assert hold.is_full
