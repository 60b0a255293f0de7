"""Claim: who is handed what, and what a further read says of a delivery (design 4, *Delivering again*)."""

import asyncio
from collections.abc import Iterator

import pytest

from agents import distributed, open_work
from agents.board import Board
from agents.distributed import Claim, NoBoardError, Store
from fleet import keyspace

HOST = 70_001  # of the second range
BIT = HOST & 0xFFFF
MOST = 3


class Gate:
    """One gateway's claims, awaited one by one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.loop, self.board = loop, Board()
        self.store = Store(url, self.board, "gate")
        self.look()

    def look(self) -> dict[int, bytes]:
        return self.loop.run_until_complete(self.store.refresh())

    def claim(self, *campaigns: int, age: float = 0.0, host: int = HOST) -> Claim:
        return self.loop.run_until_complete(self.store.claim(host, campaigns, age, MOST))


@pytest.fixture
def gate(board: None, loop: asyncio.AbstractEventLoop, settings: object) -> Iterator[Gate]:
    made = Gate(loop, settings.REDIS_URL)  # type: ignore[attr-defined]
    yield made
    loop.run_until_complete(made.store.close())


def arm(campaign: int, *hosts: int, timeout: int = 60) -> None:
    open_work.arm(campaign, HOST >> 16, [host & 0xFFFF for host in hosts or (HOST,)], f"SELECT {campaign}", timeout)


def entries(kind: bytes) -> int:
    return sum(fields[b"k"] == kind for _, fields in open_work.client().xrange(keyspace.STREAM))


def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a host be offered its work again at once, instead of five seconds after its first further read."""
    monkeypatch.setattr(distributed, "OFFER_AGAIN_MS", 0)


def test_a_host_that_is_owed_gets_the_sql_and_the_delivery_is_in_the_stream(gate: Gate) -> None:
    arm(1)

    assert gate.claim(1).work == [(1, "SELECT 1")]
    assert entries(b"d") == 1


def test_a_host_that_was_not_asked_gets_nothing_ever(gate: Gate) -> None:
    arm(1)

    assert gate.claim(1, 99, host=HOST + 1) == Claim([], accelerate=0, at_once=False, again_in=None, never=[1, 99])


def test_the_first_further_read_is_answered_at_once_and_empty(gate: Gate) -> None:
    arm(1)
    gate.claim(1)

    assert gate.claim(1) == Claim([], accelerate=0, at_once=True, again_in=None, never=[])


def test_the_next_is_held_until_five_seconds_later(gate: Gate) -> None:
    arm(1)
    gate.claim(1)
    gate.claim(1)

    held = gate.claim(1)

    assert not held.work
    assert not held.at_once
    assert held.again_in is not None
    assert 4 < held.again_in <= 5


def test_work_is_offered_three_times_and_then_given_up(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    let_time_pass(monkeypatch)
    arm(1)

    handed_out = [bool(gate.claim(1).work) for _ in range(6)]

    assert handed_out == [True, False, True, False, True, False]
    assert gate.claim(1).never == [1]
    assert entries(b"d") == 3
    assert entries(b"n") == 1
    assert open_work.client().getbit(keyspace.owed_key(1, HOST >> 16), BIT), "it may still answer late"


def test_the_sibling_of_a_read_sent_twice_takes_the_delivery_over_uncounted(gate: Gate) -> None:
    arm(1)
    gate.claim(1)

    twin = gate.claim(1, age=0.5)  # began before its twin was handed the work

    assert twin.work == [(1, "SELECT 1")]
    assert entries(b"d") == 1


def test_at_most_three_queries_go_with_one_read(gate: Gate) -> None:
    for campaign in range(1, 6):
        arm(campaign)

    first = gate.claim(*range(1, 6))

    assert [campaign for campaign, _ in first.work] == [1, 2, 3]
    assert [campaign for campaign, _ in gate.claim(4, 5).work] == [4, 5]


def test_what_is_closed_or_out_of_time_is_handed_out_to_nobody(gate: Gate) -> None:
    arm(1)
    arm(2, timeout=0)  # its end is Redis' now: no sweep is needed
    open_work.close(1, [HOST >> 16])

    assert gate.claim(1, 2).never == [1, 2]


def test_a_paused_campaign_is_held_without_a_time(gate: Gate) -> None:
    arm(1)
    open_work.client().hset(keyspace.campaign_key(1), "paused", "1")

    assert gate.claim(1) == Claim([], accelerate=0, at_once=False, again_in=None, never=[])


def test_without_a_whole_board_nobody_is_told_anything(gate: Gate) -> None:
    arm(1)
    open_work.begin_anew()

    with pytest.raises(NoBoardError):
        gate.claim(1)


def test_a_board_of_another_epoch_than_the_copy_knows_says_nothing(gate: Gate) -> None:
    arm(1)
    open_work.client().set(keyspace.EPOCH, "another:1")

    with pytest.raises(NoBoardError):
        gate.claim(1)
    gate.look()
    assert gate.claim(1).work


def test_arming_twice_does_not_ask_again_who_answered(gate: Gate) -> None:
    arm(1, HOST, HOST + 1)
    open_work.client().setbit(keyspace.owed_key(1, HOST >> 16), BIT, 0)
    open_work.client().setbit(keyspace.offer_key(1, HOST >> 16), BIT, 0)

    arm(1, HOST, HOST + 1)

    assert gate.claim(1).never == [1]
    assert gate.claim(1, host=HOST + 1).work


def test_the_copy_sees_new_work_and_names_whom_to_wake(gate: Gate) -> None:
    assert not gate.board.has_work(HOST)

    arm(1)
    fresh = gate.look()

    assert gate.board.has_work(HOST)
    assert set(fresh) == {HOST >> 16}
    assert gate.look() == {}, "nothing changed since"


def test_a_closed_campaign_leaves_the_copy(gate: Gate) -> None:
    arm(1)
    gate.look()

    open_work.close(1, [HOST >> 16])
    gate.look()

    assert not gate.board.has_work(HOST)


def test_the_interleaving_of_a_never_with_a_refresh_hides_no_work(gate: Gate) -> None:
    """A claim is sent; the host's bit is set again and the copy refreshed; then the old answer arrives."""
    arm(1)
    gate.look()
    open_work.client().setbit(keyspace.offer_key(1, HOST >> 16), BIT, 0)
    generation = gate.board.generation
    never = gate.claim(1).never
    assert never == [1]

    assert open_work.arm_again(1, HOST >> 16, [BIT], open_work.mark_stream("0-0")) == 1
    gate.look()
    gate.board.clear(HOST, never, generation)

    assert gate.board.has_work(HOST)
    assert gate.claim(1).work == [(1, "SELECT 1")]
