"""The gateway as agents meet it: always an object, `{}` only when nothing is lost by it."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings

from agents.board import keyspace, operator_verbs, redis_client
from agents.gateway.app import Gateway
from agents.protocol import messages
from agents.protocol.endpoints import verb_of
from agents.protocol.node_key import NodeKeys
from agents.protocol.repair import repaired
from tests.conftest import Agent, gateway_settings, no_cold_app

HOST = 12
MakeAgent = Callable[[int], Agent]


def arm(campaign: int, *hosts: int) -> None:
    operator_verbs.arm(campaign, 0, hosts or (HOST,), f"SELECT {campaign}", 60)


def answers_in_stream() -> list[dict[bytes, bytes]]:
    return [fields for _, fields in redis_client.client().xrange(keyspace.STREAM) if fields[b"k"] == b"a"]


def commands() -> int:
    return int(redis_client.client().info("stats")["total_commands_processed"])


def test_a_host_that_is_owed_nothing_gets_an_empty_object(agent: MakeAgent) -> None:
    assert agent(HOST).read() == {}


@pytest.mark.parametrize("path", ["/api/osquery/config", "/api/v1/osquery/config", "/api/osquery/config/"])
def test_both_prefixes_lead_to_the_same_endpoint(path: str) -> None:
    assert verb_of(path) == "config"


def test_other_addresses_are_not_the_agents() -> None:
    assert verb_of("/api/v1/campaigns/") is None


@pytest.mark.parametrize("key", [None, "", "12.1.forged", 5, ["x"]])
def test_who_is_not_known_is_told_to_enroll_again(agent: MakeAgent, key: object) -> None:
    assert agent(HOST).post("distributed/read", {"node_key": key}) == {"node_invalid": True}


def test_a_key_in_the_header_stands_in_for_one_in_the_body(agent: MakeAgent) -> None:
    host = agent(HOST)
    header = [(b"authorization", b"NodeKey " + host.key.encode())]

    assert host.post("config", {}, header)["options"]["distributed_interval"] == 10
    assert host.post("config", {"node_key": "forged"}, header) == {"node_invalid": True}, "the body comes first"


def test_a_mass_of_unknown_hosts_is_not_told_to_enroll_all_at_once(agent: MakeAgent) -> None:
    said = [agent(HOST).post("distributed/read", {"node_key": "forged"}) for _ in range(250)]

    assert 100 <= sum(answer == {"node_invalid": True} for answer in said) <= 200
    assert all("error" in answer or answer == {"node_invalid": True} for answer in said)


def test_a_key_below_the_floor_is_refused_and_a_newer_one_served(agent: MakeAgent, gateway: Gateway) -> None:
    host = agent(HOST)
    operator_verbs.set_floor(HOST, 2)

    assert host.read() == {"node_invalid": True}
    host.key = NodeKeys(settings.NODE_KEY_SECRETS).issue(HOST, 2)
    assert host.read() == {}


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"1", b"\xff\xfe\x00", b"[" * 10_000])
@pytest.mark.parametrize("verb", ["distributed/read", "distributed/write", "log"])
def test_what_is_not_json_is_dropped_with_an_object(agent: MakeAgent, verb: str, body: bytes) -> None:
    assert agent(HOST).post(verb, body) == {}


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"1"])
def test_an_empty_object_is_never_served_as_a_config(agent: MakeAgent, body: bytes) -> None:
    assert agent(HOST).post("config", body) == {"error": "the request has no JSON object"}


def test_an_answer_is_in_the_stream_before_the_agent_hears_of_it(agent: MakeAgent) -> None:
    arm(1)

    assert agent(HOST).write(1, [{"a": "1"}]) == {}

    (entry,) = answers_in_stream()
    assert (entry[b"c"], entry[b"h"], entry[b"s"]) == (b"1", b"12", b"0")
    assert json.loads(entry[b"r"]) == [{"a": "1"}]


def test_the_same_write_twice_is_one_answer(agent: MakeAgent) -> None:
    arm(1)

    assert [agent(HOST).write(1, [{"a": "1"}]) for _ in range(2)] == [{}, {}]

    assert len(answers_in_stream()) == 1


def test_the_same_write_by_two_connections_at_once_is_one_answer(
    agent: MakeAgent, loop: asyncio.AbstractEventLoop
) -> None:
    arm(1)
    host = agent(HOST)
    body = host.answer(1, [{"a": "1"}])

    async def both() -> list[Any]:
        return await asyncio.gather(*(host.posting("distributed/write", body) for _ in range(20)))

    host.read()
    assert loop.run_until_complete(both()) == [{}] * 20
    assert len(answers_in_stream()) == 1


def test_a_host_that_was_not_asked_cannot_answer(agent: MakeAgent) -> None:
    arm(1, HOST + 1)

    assert agent(HOST).write(1, [{"a": "1"}]) == {}
    assert agent(HOST).write(99, [{"a": "1"}]) == {}, "an unknown campaign"
    assert agent(HOST).post("distributed/write", {"node_key": agent(HOST).key, "queries": {"x": []}}) == {}

    assert answers_in_stream() == []


def test_a_late_answer_of_a_host_that_was_asked_is_taken(agent: MakeAgent) -> None:
    arm(1)
    agent(HOST).read()
    operator_verbs.close(1, [0])

    assert agent(HOST).write(1, [{"a": "1"}]) == {}
    assert len(answers_in_stream()) == 1


def test_several_answers_in_one_write_are_taken_each_on_its_own(agent: MakeAgent) -> None:
    arm(1)
    arm(2)
    host = agent(HOST)
    body = {"node_key": host.key, "queries": {"c1": [{"a": "1"}], "c2": "", "c77": [], "other": []}}

    assert host.post("distributed/write", body) == {}

    assert sorted(entry[b"c"] for entry in answers_in_stream()) == [b"1", b"2"]


def test_an_answer_larger_than_the_limit_is_cut_and_marked(
    loop: asyncio.AbstractEventLoop, gateway: Gateway, board: None
) -> None:
    small = Gateway(gateway_settings(max_result_bytes=1000), cold=gateway._cold)
    loop.run_until_complete(small.start())
    arm(1)
    host = Agent(small, loop, HOST)
    host.read()

    host.write(1, [{"n": str(n)} for n in range(1000)])

    (entry,) = answers_in_stream()
    assert entry[b"x"] == b"t"
    assert 0 < len(json.loads(entry[b"r"])) < 1000
    loop.run_until_complete(small.stop())


def test_without_a_whole_board_answers_are_kept_by_the_agent(agent: MakeAgent) -> None:
    arm(1)
    agent(HOST).read()
    redis_client.client().flushdb()

    assert "error" in agent(HOST).write(1, [{"a": "1"}])
    assert "error" in agent(HOST).post("distributed/read", {"node_key": agent(HOST).key}), "its bit is set in the copy"


def test_log_lines_are_acknowledged_gzipped_or_not(agent: MakeAgent) -> None:
    host = agent(HOST)
    body = json.dumps({"node_key": host.key, "log_type": "result", "data": []}).encode()

    assert host.post("log", body) == {}
    assert host.post("log", gzip.compress(body)) == {}
    assert host.post("log", gzip.compress(body)[:-20] + b"garbled") == {}


def test_a_zip_bomb_is_dropped(loop: asyncio.AbstractEventLoop, board: None, gateway: Gateway) -> None:
    small = Gateway(gateway_settings(max_body_bytes=100_000), cold=gateway._cold)
    loop.run_until_complete(small.start())
    host = Agent(small, loop, HOST)

    assert host.post("log", gzip.compress(b"0" * 10_000_000)) == {}
    assert small.counts["log batches"] == 0
    loop.run_until_complete(small.stop())


def test_a_body_in_several_gzip_members_is_read_whole(agent: MakeAgent) -> None:
    arm(1)
    host = agent(HOST)
    body = json.dumps(host.answer(1, [{"a": "1"}])).encode()

    assert host.post("distributed/write", gzip.compress(body[:20]) + gzip.compress(body[20:]) + b"\0" * 8) == {}

    (stored,) = answers_in_stream()
    assert json.loads(stored[b"r"]) == [{"a": "1"}]


def test_a_batch_of_log_lines_above_the_limit_is_dropped(loop: asyncio.AbstractEventLoop, board: None) -> None:
    small = Gateway(gateway_settings(log_max_bytes=2_000_000), cold=no_cold_app)
    loop.run_until_complete(small.start())
    host = Agent(small, loop, HOST)

    for size, batches in ((1_500_000, 1), (2_500_000, 1)):
        batch = {"node_key": host.key, "log_type": "result", "data": ["x" * size]}
        assert host.post("log", batch) == {}
        assert small.counts["log batches"] == batches
    loop.run_until_complete(small.stop())


def test_an_idle_check_in_costs_no_round_trip_however_many_campaigns_are_open(
    agent: MakeAgent, gateway: Gateway, loop: asyncio.AbstractEventLoop
) -> None:
    for campaign in range(1, 101):
        arm(campaign, HOST + 1)
    idle = agent(HOST)
    idle.read()
    before, told = commands(), gateway.store.round_trips

    async def many() -> list[Any]:
        return [await idle.posting("distributed/read", {"node_key": idle.key}) for _ in range(500)]

    assert loop.run_until_complete(many()) == [{}] * 500
    assert gateway.store.round_trips - told <= 2, "the gateway tells once a second who asked"
    assert commands() - before < 250  # of the whole server, which other tests ask as well meanwhile


def test_agents_come_quickly_while_there_is_room_to_hold_them(board: None, loop: asyncio.AbstractEventLoop) -> None:
    """Of 4 + 4 reads that two gateways can hold, 6 are under 80 %, 7 above; a silent third counts nothing."""
    small = Gateway(gateway_settings(hold_seconds=600.0, max_held_reads=4), cold=no_cold_app)
    loop.run_until_complete(small.start())
    host = Agent(small, loop, HOST)
    redis = redis_client.client()

    def interval(*, held_elsewhere: int) -> int:
        current = keyspace.now_ms(redis)
        redis.delete(keyspace.GATEWAYS)
        redis.hset(keyspace.GATEWAYS, mapping={"other": current, "silent": current - 60_000})
        redis.hset(keyspace.HELD, mapping={"other": f"{held_elsewhere} 4", "silent": "1000 1000"})
        loop.run_until_complete(small._follower._tell_reads())
        options: dict[str, int] = host.post("config", {"node_key": host.key})["options"]
        return options["distributed_interval"]

    assert interval(held_elsewhere=4) == 2
    for number in range(1, 4):
        small.hold.enter(number)
    assert interval(held_elsewhere=3) == 2
    assert interval(held_elsewhere=4) == 10
    assert interval(held_elsewhere=0) == 2
    loop.run_until_complete(small.stop())


class TestHeldReads:
    """Idle reads wait for work."""

    @pytest.fixture
    def holding(self, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> Iterator[Gateway]:
        made = Gateway(gateway_settings(hold_seconds=600.0), cold=gateway._cold)
        loop.run_until_complete(made.start())
        yield made
        loop.run_until_complete(made.stop())

    def test_a_held_read_gets_work_that_comes_later(self, holding: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        host = Agent(holding, loop, HOST)

        async def ask_then_launch() -> Any:
            read = asyncio.ensure_future(host.posting("distributed/read", {"node_key": host.key}))
            while not len(holding.hold):
                await asyncio.sleep(0)
            await asyncio.to_thread(arm, 1)
            return await asyncio.wait_for(read, 90)

        assert loop.run_until_complete(ask_then_launch()) == {"queries": {"c1": "SELECT 1"}}

    def test_the_newer_read_of_a_host_releases_the_older(
        self, holding: Gateway, loop: asyncio.AbstractEventLoop
    ) -> None:
        host = Agent(holding, loop, HOST)

        async def ask_twice() -> Any:
            older = asyncio.ensure_future(host.posting("distributed/read", {"node_key": host.key}))
            while not len(holding.hold):
                await asyncio.sleep(0)
            newer = asyncio.ensure_future(host.posting("distributed/read", {"node_key": host.key}))
            answer = await asyncio.wait_for(older, 90)
            assert not newer.done()
            await asyncio.to_thread(arm, 1)
            return answer, await asyncio.wait_for(newer, 90)

        assert loop.run_until_complete(ask_twice()) == ({}, {"queries": {"c1": "SELECT 1"}})

    def test_a_server_that_stops_answers_every_held_read_at_once(
        self, holding: Gateway, loop: asyncio.AbstractEventLoop
    ) -> None:
        hosts = [Agent(holding, loop, number) for number in range(1, 101)]

        async def ask_then_stop() -> list[Any]:
            reads = [asyncio.ensure_future(host.posting("distributed/read", {"node_key": host.key})) for host in hosts]
            while len(holding.hold) < len(hosts):
                await asyncio.sleep(0)
            await asyncio.wait_for(holding.hold.close(), 90)
            return await asyncio.wait_for(asyncio.gather(*reads), 90)

        assert loop.run_until_complete(ask_then_stop()) == [{}] * 100


def test_a_host_that_is_revoked_while_its_read_is_held_is_handed_nothing(
    gateway: Gateway, agent: MakeAgent, loop: asyncio.AbstractEventLoop
) -> None:
    gateway._reads._hold_seconds = 600

    async def revoked_while_held() -> Any:
        read = asyncio.ensure_future(agent(HOST).posting("distributed/read", {"node_key": agent(HOST).key}))
        while not len(gateway.hold):
            await asyncio.sleep(0)
        operator_verbs.set_floor(HOST, 2)
        arm(5)
        return await read

    assert loop.run_until_complete(asyncio.wait_for(revoked_while_held(), 90)) == {"node_invalid": True}


def test_a_gateway_that_has_seen_no_board_acknowledges_nothing(loop: asyncio.AbstractEventLoop) -> None:
    redis_client.client().flushdb()
    blind = Gateway(gateway_settings(), cold=no_cold_app)
    loop.run_until_complete(blind.start())
    unseen = Agent(blind, loop, HOST)

    for verb in ("config", "log", "distributed/read", "distributed/write"):
        assert "error" in unseen.post(verb, {"node_key": unseen.key}), verb
    loop.run_until_complete(blind.stop())


def test_a_body_that_is_no_json_is_repaired_for_known_hosts_only(
    agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, looked_at = agent(HOST), []
    arm(5)
    known.read()
    monkeypatch.setattr(messages, "repaired", lambda body: looked_at.append(body) or repaired(body))
    body = b'{"node_key": "%s", "queries": {"c5": [{"a": NaN}]}}'

    assert known.post("distributed/write", body % b"12.1.made-up") == {"node_invalid": True}
    assert known.post("distributed/write", b'{"queries": {"c5": [NaN]}}') == {}
    assert not looked_at
    assert known.post("distributed/write", body % known.key.encode()) == {}
    assert len(answers_in_stream()) == 1


def test_a_gateway_that_stops_tells_who_asked_last_and_is_waited_for_no_more(
    board: None, loop: asyncio.AbstractEventLoop
) -> None:
    made = Gateway(gateway_settings(), cold=no_cold_app)
    loop.run_until_complete(made.start())
    host = Agent(made, loop, HOST)
    host.post("distributed/read", {"node_key": host.key})
    redis = redis_client.client()
    redis.delete(keyspace.READS)

    loop.run_until_complete(made.stop())

    assert redis.hexists(keyspace.READS, str(HOST))
    assert redis.hgetall(keyspace.GATEWAYS) == {}
    assert redis.hgetall(keyspace.HELD) == {}
