"""Claim: who is handed what, and what a further read says of a delivery (design 4, *Delivering again*)."""

import asyncio
from collections.abc import Callable

import pytest

from agents.board import gateway_verbs, keyspace, known_hosts, operator_verbs, rebuilding, redis_client
from agents.board.gateway_verbs import Claim
from agents.board.keyspace import NoBoardError
from agents.protocol.messages import Answer
from tests.agents.board.gate import BIT, HOST, Gate, arm, entries, flight, let_time_pass


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
    assert redis_client.client().getbit(keyspace.owed_key(1, HOST >> 16), BIT), "it may still answer late"


def test_the_sibling_of_a_read_sent_twice_takes_the_delivery_over_uncounted(gate: Gate) -> None:
    arm(1)
    gate.claim(1)

    twin = gate.claim(1, age=0.5)  # began before its twin was handed the work

    assert twin.work == [(1, "SELECT 1")]
    assert entries(b"d") == 1


def test_the_twin_that_takes_over_may_do_so_again_and_the_record_is_its_own(gate: Gate) -> None:
    arm(1)
    gate.claim(1, age=0.3)
    gate.claim(1, age=0.2)

    assert gate.claim(1, age=0.1).work
    deliveries, at = flight(1)[:2]
    assert deliveries == b"1"
    assert abs(int(at) - int(delivered_at(1))) <= 1, "the script's clock and the stream's may differ by their rounding"
    assert entries(b"d") == 1


def test_a_twin_that_a_later_read_proves_dead_gets_nothing_and_moves_nothing(gate: Gate) -> None:
    arm(1)
    gate.claim(1)
    gate.claim(1)
    record = flight(1)

    assert gate.claim(1, age=0.5).at_once, "the host has come back since: nobody waits for this answer"
    assert flight(1) == record


def test_the_twin_of_the_first_further_read_is_answered_at_once_as_well(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's answer may come right after it: held, or offered the work again, it would run it twice."""
    let_time_pass(monkeypatch)
    arm(1)
    gate.claim(1)
    move_delivery_back(1, 200)
    gate.claim(1, age=0.1)

    assert gate.claim(1, age=0.05) == Claim([], 0, at_once=True, again_in=None, never=[])


def test_the_next_delivery_comes_when_the_pause_is_over_and_not_before(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(1)
    gate.claim(1)
    gate.claim(1)
    monkeypatch.setattr(gateway_verbs, "OFFER_AGAIN_MS", 60)
    soon = gate.claim(1).again_in
    assert soon is not None
    assert 0 < soon <= 0.06

    wait_for_redis(soon)

    assert gate.claim(1).work
    assert gate.claim(1).at_once, "the count of further reads begins anew"


def test_after_the_third_delivery_only_the_read_that_comes_late_enough_gives_up(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(1)
    with monkeypatch.context() as quick:
        let_time_pass(quick)
        assert sum(bool(gate.claim(1).work) for _ in range(5)) == 3

    assert gate.claim(1).at_once, "the first further read"
    assert gate.claim(1).again_in is not None, "a later one"
    assert entries(b"n") == 0
    let_time_pass(monkeypatch)
    assert gate.claim(1).never == [1]
    assert entries(b"n") == 1
    assert flight(1) == []


def test_a_further_read_that_gets_other_work_is_a_further_read_all_the_same(gate: Gate) -> None:
    for campaign in range(1, 5):
        arm(campaign)
    gate.claim(4)

    assert [campaign for campaign, _ in gate.claim(1, 2, 3, 4).work] == [1, 2, 3]

    assert gate.claim(4).again_in is not None


def test_slow_sql_goes_alone(gate: Gate) -> None:
    for campaign in (1, 2, 3):
        arm(campaign)
    redis_client.client().hset(keyspace.campaign_key(2), "alone", "1")

    assert [campaign for campaign, _ in gate.claim(1, 2, 3).work] == [1, 3], "nothing waits for it"
    assert [campaign for campaign, _ in gate.claim(1, 2, 3).work] == [2]


def test_after_slow_sql_nothing_else_goes_with_the_same_read(gate: Gate) -> None:
    for campaign in (1, 2):
        arm(campaign)
    redis_client.client().hset(keyspace.campaign_key(1), "alone", "1")

    assert [campaign for campaign, _ in gate.claim(1, 2).work] == [1]
    assert [campaign for campaign, _ in gate.claim(1, 2).work] == [2]


def delivered_at(campaign: int) -> bytes:
    (entry,) = (entry for entry, fields in redis_client.client().xrange(keyspace.STREAM) if fields[b"k"] == b"d")
    return entry.split(b"-")[0]


def move_delivery_back(campaign: int, milliseconds: int) -> None:
    """Let the delivery have happened earlier."""
    deliveries, at, holder, further = map(int, flight(campaign))
    record = f"{deliveries} {at - milliseconds} {holder} {further}"
    redis_client.client().hset(keyspace.flight_key(campaign), HOST, record)


def wait_for_redis(seconds: float) -> None:
    """Return when Redis' own clock has gone on."""
    client = redis_client.client()
    end = keyspace.now_ms(client) + seconds * 1000
    while keyspace.now_ms(client) <= end:
        pass


def test_at_most_three_queries_go_with_one_read(gate: Gate) -> None:
    for campaign in range(1, 6):
        arm(campaign)

    first = gate.claim(*range(1, 6))

    assert [campaign for campaign, _ in first.work] == [1, 2, 3]
    assert [campaign for campaign, _ in gate.claim(4, 5).work] == [4, 5]


def test_housekeeping_goes_three_at_a_time_as_well(gate: Gate) -> None:
    for query in range(1, 6):
        operator_verbs.ask(-query, f"SELECT {query}", [HOST])

    first = gate.claim(*range(-1, -6, -1))

    assert [query for query, _ in first.work] == [-1, -2, -3]
    assert [query for query, _ in gate.claim(-4, -5).work] == [-4, -5]


def test_what_is_closed_or_out_of_time_is_handed_out_to_nobody(gate: Gate) -> None:
    arm(1)
    arm(2, timeout=0)  # its end is Redis' now: no sweep is needed
    operator_verbs.close(1, [HOST >> 16])

    assert gate.claim(1, 2).never == [1, 2]


def test_a_paused_campaign_is_held_without_a_time(gate: Gate) -> None:
    arm(1)
    redis_client.client().hset(keyspace.campaign_key(1), "paused", "1")

    assert gate.claim(1) == Claim([], accelerate=0, at_once=False, again_in=None, never=[])


def test_what_is_closed_or_unknown_is_neither_paused_nor_resumed(gate: Gate) -> None:
    arm(1)
    operator_verbs.pause(1, [HOST >> 16])
    operator_verbs.close(1, [HOST >> 16])

    for campaign in (1, 2):
        assert operator_verbs.pause(campaign, [HOST >> 16]) is None
        assert operator_verbs.resume(campaign, [HOST >> 16]) is None


CHANGES: dict[str, Callable[[], object]] = {
    "arm": lambda: arm(2),
    "arm again": lambda: operator_verbs.arm_again(1, HOST >> 16, [BIT], operator_verbs.last_entry()),
    "release": lambda: operator_verbs.release(1, HOST >> 16, [HOST]),
    "pause": lambda: operator_verbs.pause(1, [HOST >> 16]),
    "resume": lambda: operator_verbs.resume(1, [HOST >> 16]),
    "close": lambda: operator_verbs.close(1, [HOST >> 16]),
    "ask": lambda: operator_verbs.ask(-1, "SELECT 1", [HOST]),
    "withdraw": lambda: operator_verbs.withdraw(-1),
    "config": lambda: operator_verbs.set_config("{}"),
    "floor": lambda: operator_verbs.set_floor(HOST, 2),
    "hosts": lambda: known_hosts.note(known_hosts.Life("here", "there"), {HOST: b"tag."}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_board_raises_the_version_and_rings(gate: Gate, change: str) -> None:
    arm(1, HOST + 1)
    if change == "resume":
        operator_verbs.pause(1, [HOST >> 16])
    before = redis_client.client().get(keyspace.VERSION)
    with redis_client.client().pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe(redis_client.bell())
        bell.get_message(timeout=90)  # that it listens

        CHANGES[change]()

        assert bell.get_message(timeout=90) is not None
    assert redis_client.client().get(keyspace.VERSION) != before


def test_without_a_whole_board_nobody_is_told_anything(gate: Gate) -> None:
    arm(1)
    rebuilding.begin()

    with pytest.raises(NoBoardError):
        gate.claim(1)


def test_a_board_of_another_epoch_than_the_copy_knows_says_nothing(gate: Gate) -> None:
    arm(1)
    redis_client.client().set(keyspace.EPOCH, "another:1")

    with pytest.raises(NoBoardError):
        gate.claim(1)
    gate.look()
    assert gate.claim(1).work


def test_a_call_that_cannot_be_written_fails_and_keeps_nobody_waiting(gate: Gate) -> None:
    arm(1)
    impossible = Answer(1, 0, "half a character: \ud800", b"{}", b"[]")

    async def both() -> list[object]:
        accepting = gate.store.accept(HOST, [impossible])
        return await asyncio.wait_for(
            asyncio.gather(accepting, gate.store.claim(HOST, [1], 0, 3), return_exceptions=True), 2
        )

    first, _ = gate.loop.run_until_complete(both())

    assert isinstance(first, UnicodeEncodeError)
    assert gate.claim(1).work, "the next round trip is another"


def test_arming_twice_does_not_ask_again_who_answered(gate: Gate) -> None:
    arm(1, HOST, HOST + 1)
    redis_client.client().setbit(keyspace.owed_key(1, HOST >> 16), BIT, 0)
    redis_client.client().setbit(keyspace.offer_key(1, HOST >> 16), BIT, 0)

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

    operator_verbs.close(1, [HOST >> 16])
    gate.look()

    assert not gate.board.has_work(HOST)


def test_the_interleaving_of_a_never_with_a_refresh_hides_no_work(gate: Gate) -> None:
    """A claim is sent; the host's bit is set again and the copy refreshed; then the old answer arrives."""
    arm(1)
    gate.look()
    redis_client.client().setbit(keyspace.offer_key(1, HOST >> 16), BIT, 0)
    generation = gate.board.generation
    never = gate.claim(1).never
    assert never == [1]

    assert operator_verbs.arm_again(1, HOST >> 16, [BIT], rebuilding.mark_stream("0-0")) == 1
    gate.look()
    gate.board.clear(HOST, never, generation)

    assert gate.board.has_work(HOST)
    assert gate.claim(1).work == [(1, "SELECT 1")]
