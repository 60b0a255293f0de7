"""Deliveries whose client was gone before the answer left are undone: nothing counts that was never handed out."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.board import keyspace, rebuilding, redis_client
from agents.board.keyspace import NoBoardError
from agents.gateway.app import Gateway
from tests.agents.board.gate import HOST, MOST, Gate, arm, entries, flight, let_time_pass
from tests.conftest import Agent, gateway_settings


def give_back(gate: Gate, claim: Any) -> int:
    return gate.loop.run_until_complete(gate.store.give_back(HOST, claim.traces))


def test_a_first_delivery_given_back_leaves_no_record_and_is_taken_back_in_the_stream(gate: Gate) -> None:
    arm(1)

    assert give_back(gate, gate.claim(1)) == 1

    assert flight(1) == []
    assert [fields[b"k"] for _, fields in redis_client.client().xrange(keyspace.STREAM)] == [b"d", b"g"]
    assert gate.claim(1).work, "and not held, as after a delivery that may have arrived"


def test_a_second_delivery_given_back_leaves_the_first(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    let_time_pass(monkeypatch)
    arm(1)
    gate.claim(1)
    gate.claim(1)
    first = flight(1)

    give_back(gate, gate.claim(1))

    assert flight(1) == first
    (taken_back,) = (fields for _, fields in redis_client.client().xrange(keyspace.STREAM) if fields[b"k"] == b"g")
    assert (taken_back[b"n"], taken_back[b"p"]) == (b"1", first[1])


@pytest.mark.parametrize("age", [0.5, 0.2])
def test_a_delivery_that_was_taken_over_is_not_given_back_by_the_dead_twin(gate: Gate, age: float) -> None:
    arm(1)
    dead = gate.claim(1, age=age)
    alive = gate.claim(1, age=0.2)

    assert give_back(gate, dead) == 0

    assert len(flight(1)) == 4
    assert give_back(gate, alive) == 1, "back to the twin's, which is not counted anew"
    assert len(flight(1)) == 4
    assert entries(b"g") == 0


def test_what_was_answered_meanwhile_stays_answered(gate: Gate) -> None:
    arm(1)
    claim = gate.claim(1)
    redis_client.client().hdel(keyspace.flight_key(1), HOST)  # as accept does

    assert give_back(gate, claim) == 0
    assert entries(b"g") == 0


def test_several_deliveries_of_one_read_are_given_back_together(gate: Gate) -> None:
    for campaign in range(1, MOST + 1):
        arm(campaign)

    assert give_back(gate, gate.claim(*range(1, MOST + 1))) == MOST
    assert entries(b"g") == MOST


def test_without_a_whole_board_nothing_is_given_back(gate: Gate) -> None:
    arm(1)
    claim = gate.claim(1)
    rebuilding.begin()

    with pytest.raises(NoBoardError):
        give_back(gate, claim)


class TestAtTheGateway:
    """Who learns that the client is gone gives back."""

    @pytest.fixture(params=[0.0, 5.0], ids=["at once", "held"])
    def served(
        self, request: pytest.FixtureRequest, gateway: Gateway, loop: asyncio.AbstractEventLoop
    ) -> Iterator[Gateway]:
        made = Gateway(gateway_settings(hold_seconds=request.param), cold=gateway._cold)
        loop.run_until_complete(made.start())
        loop.run_until_complete(made.store.refresh())
        yield made
        loop.run_until_complete(made.stop())

    def test_a_client_that_leaves_during_the_claim_was_handed_nothing(
        self, served: Gateway, loop: asyncio.AbstractEventLoop
    ) -> None:
        arm(1)
        loop.run_until_complete(served.store.refresh())
        left = asyncio.Event()
        claim = served.store.claim

        async def claim_and_see_the_client_leave(*args: Any) -> Any:
            answer = await claim(*args)
            left.set()
            return answer

        served.store.claim = claim_and_see_the_client_leave  # type: ignore[method-assign]

        assert self.read(served, loop, left=left) == []

        assert flight(1) == []
        assert (entries(b"d"), entries(b"g"), served.counts["given back"]) == (1, 1, 1)

    def test_an_answer_that_cannot_be_sent_was_handed_out_to_nobody(
        self, served: Gateway, loop: asyncio.AbstractEventLoop
    ) -> None:
        arm(1)
        loop.run_until_complete(served.store.refresh())

        async def send(message: Any) -> None:
            raise ConnectionResetError("the client is gone")

        assert self.read(served, loop, send=send) == []

        assert flight(1) == []
        assert served.counts["given back"] == 1

    def test_what_an_older_read_was_handed_goes_to_a_newer(
        self, gateway: Gateway, loop: asyncio.AbstractEventLoop
    ) -> None:
        holding = Gateway(gateway_settings(hold_seconds=5.0), cold=gateway._cold)
        host = Agent(holding, loop, HOST)
        claimed, go_on = asyncio.Event(), asyncio.Event()

        def read() -> asyncio.Future[Any]:
            return asyncio.ensure_future(host.posting("distributed/read", {"node_key": host.key}))

        async def one_after_another() -> tuple[Any, Any, Any]:
            claim = holding.store.claim

            async def claim_with_a_slow_answer(*args: Any) -> Any:
                answer = await claim(*args)
                claimed.set()
                await go_on.wait()
                return answer

            holding.store.claim = claim_with_a_slow_answer  # type: ignore[method-assign]
            older = read()
            await claimed.wait()
            holding.store.claim = claim  # type: ignore[method-assign]
            newer = await read()
            go_on.set()
            return await older, newer, await read()

        arm(1)
        loop.run_until_complete(holding.start())
        loop.run_until_complete(holding.store.refresh())
        answers = loop.run_until_complete(asyncio.wait_for(one_after_another(), 90))
        loop.run_until_complete(holding.stop())

        assert answers == ({}, {}, {"queries": {"c1": "SELECT 1"}}), "the second was the first further read"

    def read(
        self,
        served: Gateway,
        loop: asyncio.AbstractEventLoop,
        left: asyncio.Event | None = None,
        send: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Read as HOST, whose client leaves when `left` is set; give what was sent to it."""
        host = Agent(served, loop, HOST)
        requests = [{"type": "http.request", "body": b'{"node_key":"%s"}' % host.key.encode(), "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await (left or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def keep(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/api/osquery/distributed/read", "headers": []}
        loop.run_until_complete(asyncio.wait_for(served(scope, receive, send or keep), 90))
        return sent
