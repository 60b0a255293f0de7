"""SQL on its way to a host and what comes of it long after, over connections (protocol 8, 29, 31 and 32)."""

import json

import pytest

from agents.board import keyspace, operator_verbs, redis_client
from tests.agents.wire.conftest import HOST, Wire, entries, eventually, request

ODD_SQL = [
    "SELECT 1; SELECT 2;",
    "SELECT 'größe 日本 \U0001f600 \u2028'",
    "SELECT 'a\0b'",
    "SELECT \"a\"\"b\", '\\', '/', '</script>' -- \\u0000",
    "SELECT '\x01\x1f\x7f\ufffd'\r\n\t",
    "SELECT '%s'" % ("x" * 2**20),
    " ",
]


@pytest.mark.parametrize("sql", ODD_SQL)
def test_sql_of_any_text_arrives_as_it_was_written(wire: Wire, sql: str) -> None:
    operator_verbs.arm(1, 0, [HOST], sql, 60)
    wire.refresh()

    assert wire.read() == {"queries": {"c1": sql}}
    assert wire.write(b'"queries":{"c1":[]}') == {}
    assert len(entries()) == 1


def test_a_host_that_restarts_answers_what_is_over_and_nothing_is_taken(wire: Wire) -> None:
    """osqueryd keeps what it was asked on its disk and runs it whenever it starts again."""
    wire.arm(1, 2, 3)
    assert set(wire.read()["queries"]) == {"c1", "c2", "c3"}
    operator_verbs.close(1, [0])
    operator_verbs.forget(1)
    redis = redis_client.client()
    redis.unlink(*operator_verbs.keys_of(2))  # as if the server had been set up anew

    assert wire.write(b'"queries":{"c1":[{"a":"1"}],"c2":[],"c3":[{"a":"3"}]}') == {}

    assert [entry[b"c"] for entry in entries()] == [b"3"], "what is still owed beside it is taken"
    assert wire.gateway.counts["unknown"] == 2


def test_a_campaign_that_ended_a_moment_ago_takes_the_answer_of_a_host_that_was_asked(wire: Wire) -> None:
    wire.arm(1)
    wire.read()
    operator_verbs.close(1, [0])

    assert wire.write(b'"queries":{"c1":[{"a":"late"}]}') == {}

    assert [entry[b"c"] for entry in entries()] == [b"1"]
    assert wire.read() == {}


def test_an_answer_nobody_read_off_the_connection_is_not_taken_for_silence(wire: Wire) -> None:
    """The agent gave up at 16 seconds: the SQL is in flight, and whatever it sends, or reads next, is right."""
    wire.arm(1)
    with wire.connect() as leaves:
        leaves.sendall(request("distributed/read", {"node_key": wire.key()}))
        eventually(lambda: len(entries(b"d")) == 1)

    assert wire.read() in ({}, {"queries": {"c1": "SELECT 1"}}), "it may be running, or was given back"
    assert redis_client.client().getbit(keyspace.owed_key(1, 0), HOST) == 1
    assert wire.write(b'"queries":{"c1":[%s]}' % json.dumps({"a": "1"}).encode()) == {}

    assert len(entries()) == 1
