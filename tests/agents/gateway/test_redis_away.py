"""While Redis is away agents keep their keys and their answers: they are told to come again, nothing else."""

import asyncio
from collections.abc import Iterator

import pytest

from agents.board import keyspace, redis_client
from agents.gateway.app import Gateway
from tests.conftest import Agent, gateway_settings, no_cold_app

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def agent(loop: asyncio.AbstractEventLoop) -> Iterator[Agent]:
    """Give a host of a gateway that was started while Redis was away."""
    gateway = Gateway(gateway_settings(redis_url=NOBODY), cold=no_cold_app)
    loop.run_until_complete(gateway.start())
    yield Agent(gateway, loop, 7)
    loop.run_until_complete(gateway.stop())


def test_no_answer_is_acknowledged_and_no_key_is_refused(agent: Agent) -> None:
    config = agent.post("config", {"node_key": agent.key})
    read = agent.post("distributed/read", {"node_key": agent.key})
    written = agent.write(1, [{"a": "1"}])
    asked_nothing = agent.post("distributed/write", {"node_key": agent.key, "queries": {}})

    for answer in (config, read, written, asked_nothing):
        assert "node_invalid" not in answer
    assert set(written) == {"error"}
    assert set(config) == {"error"}


def test_a_wrong_key_is_refused_all_the_same(agent: Agent) -> None:
    agent.key = "wrong"

    assert agent.post("distributed/read", {"node_key": agent.key}) == {"node_invalid": True}


def test_the_log_says_why_agents_are_told_to_come_again(
    gateway: Gateway, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent(gateway, loop, 7)
    redis_client.client().delete(keyspace.EPOCH)

    assert agent.write(1, [{"a": "1"}]) == {"error": "the board is being rebuilt, come again"}

    assert "kind=no board times=1 reason=the board is being rebuilt, come again" in caplog.text
