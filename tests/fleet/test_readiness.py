"""`/readyz` names what is in the way; `/livez` speaks of its own process alone."""

import logging
import re
from typing import Any

import pytest
from django.test import Client, override_settings
from redis import Redis

from agents.board import keyspace, redis_client
from agents.board.health import check_redis

pytestmark = pytest.mark.django_db


@pytest.fixture
def healthy(board: None) -> "Redis[bytes]":
    """Give Redis as it is while every kind of process lives."""
    redis: Redis[bytes] = redis_client.client()
    later = keyspace.now_ms(redis) + 3_600_000  # however long a test takes
    redis.mset({keyspace.SWEPT: later, keyspace.WORKED: later})
    redis.hset(keyspace.GATEWAYS, "one", later)
    return redis


def asked() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def troubles() -> str:
    status, body = asked()
    assert status == 503
    assert body["ready"] is False
    return " ".join(body["troubles"])


def seconds_told(sentence: str) -> int:
    """Give the seconds in this sentence of the troubles: as many as it was told to be, and those that went by since."""
    found = re.search(sentence, troubles())
    assert found is not None
    return int(found[1])


def test_it_is_ready_when_every_process_lives(healthy: "Redis[bytes]") -> None:
    assert asked() == (200, {"ready": True, "troubles": [], "warnings": []})


@pytest.mark.parametrize(
    ("key", "sentence"), [(keyspace.SWEPT, "nothing was swept"), (keyspace.WORKED, "no worker worked")]
)
def test_a_process_that_fell_silent_is_named(healthy: "Redis[bytes]", key: str, sentence: str) -> None:
    healthy.set(key, keyspace.now_ms(healthy) - 20_000)
    assert 20 <= seconds_told(rf"{sentence} for (\d+) seconds") < 600

    healthy.delete(key)
    assert f"{sentence} yet" in troubles()


def test_no_gateway_is_named(healthy: "Redis[bytes]") -> None:
    healthy.delete(keyspace.GATEWAYS)
    assert "no gateway told of itself yet" in troubles()


def test_answers_that_wait_name_the_collector(healthy: "Redis[bytes]") -> None:
    healthy.xadd(keyspace.STREAM, {"k": "a"}, id=f"{keyspace.now_ms(healthy) - 20_000}-0")
    waited = seconds_told(r"answers have waited (\d+) seconds to be stored: is the collector running\?")
    assert 20 <= waited < 600


def test_a_backlog_is_named(healthy: "Redis[bytes]") -> None:
    healthy.xadd(keyspace.STREAM, {"k": "a", "r": "x" * 4096})
    with override_settings(STREAM_MAX_BYTES=1000):
        assert "bytes of answers wait to be stored" in troubles()


def test_a_board_that_is_not_whole_is_named(healthy: "Redis[bytes]") -> None:
    healthy.delete(keyspace.EPOCH)
    assert "the board is not whole" in troubles()


def test_weak_settings_are_a_warning_only(healthy: "Redis[bytes]") -> None:
    before = healthy.config_get("maxmemory-policy")["maxmemory-policy"]
    healthy.config_set("maxmemory-policy", "allkeys-lru")
    try:
        status, body = asked()
    finally:
        healthy.config_set("maxmemory-policy", before)
    assert status == 200
    assert body["warnings"] == [
        "Redis has maxmemory-policy allkeys-lru: with noeviction no acknowledged answer can be lost"
    ]


def test_redis_away_is_named_and_the_process_still_lives(healthy: "Redis[bytes]") -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        assert "Redis does not answer" in troubles()
        assert Client().get("/livez").status_code == 200


def test_a_check_before_deploying_says_the_same_of_redis(healthy: "Redis[bytes]") -> None:
    weak = "Redis has maxmemory-policy allkeys-lru: with noeviction no acknowledged answer can be lost"
    healthy.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert [found.msg for found in check_redis(None)] == [weak]
    finally:
        healthy.config_set("maxmemory-policy", "noeviction")
    assert check_redis(None) == []

    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        assert check_redis(None)[0].msg.startswith("Redis does not answer")


@pytest.mark.parametrize("path", ["/version", "/api/fleet/orbit/ping", "/api/v1/nothing/", "/env/tls_read"])
def test_what_agents_of_other_servers_ask_is_a_quiet_404(
    client: Client, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get(path).status_code == client.post(path).status_code == 404

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_engines_and_balancers_may_ask_by_address(healthy: "Redis[bytes]") -> None:
    """They know no name: a container is asked at 127.0.0.1, a pod at an address of its own."""
    client = Client(headers={"Host": "10.89.41.7:8000"})

    assert [client.get(path).status_code for path in ("/livez", "/readyz", "/login/")] == [200, 200, 400]
