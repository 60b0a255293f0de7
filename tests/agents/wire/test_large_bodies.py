"""Huge bodies: read to the end, cut to whole rows, and the gateway's memory stays where it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from agents.board import operator_verbs
from agents.protocol import messages
from agents.protocol.node_key import NodeKeys
from tests.agents.wire.conftest import (
    HOST,
    GatewayProcess,
    StartProcess,
    Wire,
    entries,
    eventually,
    received,
    reply,
    request,
)

MB = 2**20
HUGE = 100 * MB
ROW = b'{"path":"/usr/lib/x86_64-linux-gnu/libexample.so.1","size":"123456","mode":"0644","note":"a \\"b\\" {c}"}'
Listen = Callable[..., Wire]


def rows(size: int) -> bytes:
    """Give an array of about this many bytes."""
    return b"[" + b",".join([ROW] * (size // len(ROW))) + b"]"


def write(size: int, host: int = HOST, campaign: int = 1) -> bytes:
    """Give a whole request with rows of this many bytes, the small members after them, as agents send it."""
    key = NodeKeys(settings.NODE_KEY_SECRETS).issue(host, 1).encode()
    members = b'"queries":{"c%d":%s},"statuses":{"c%d":0},"node_key":"%s"' % (campaign, rows(size), campaign, key)
    return request("distributed/write", b"{%s}" % members)


def most_memory(process: GatewayProcess) -> float:
    """Give the most megabytes the process ever held."""
    (line,) = (line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1024


def test_a_huge_body_is_cut_to_whole_rows_and_takes_less_memory_than_it_is_large(own_process: StartProcess) -> None:
    """What is kept is 8 MiB; its copies, and what the server has under way, make 50 MB of it."""
    process = own_process(hold_seconds=0)
    operator_verbs.arm(1, 0, [HOST, HOST + 1], "SELECT 1", 60)
    assert process.send(write(1000, host=HOST + 1)).answer == {}
    before = most_memory(process)

    assert process.send(write(HUGE)).answer == {}

    answer = entries()[-1]
    kept = json.loads(answer[b"r"])
    assert answer[b"x"] == b"t"
    assert kept == [json.loads(ROW)] * len(kept)
    assert settings.MAX_RESULT_BYTES - len(ROW) - 2 < len(answer[b"r"]) <= settings.MAX_RESULT_BYTES
    assert process.send(write(HUGE)).answer == {}, "the repeat is dropped as any other"
    assert len(entries()) == 2
    assert most_memory(process) - before < HUGE / MB


def test_above_the_bodys_limit_it_is_read_to_the_end_and_stored_as_cut(listen: Listen) -> None:
    """A refused write comes back for ever and carries every later answer with it."""
    wire = listen(max_body_bytes=4 * MB, max_result_bytes=MB)
    wire.arm(1)

    assert wire.send(write(20 * MB)).answer == {}

    (answer,) = entries()
    assert answer[b"x"] == b"t"
    assert 0 < len(answer[b"r"]) <= MB


def test_an_answer_that_just_fits_is_whole(listen: Listen) -> None:
    wire = listen(max_result_bytes=len(rows(3 * MB)))
    wire.arm(1)

    assert wire.send(write(3 * MB)).answer == {}

    (answer,) = entries()
    assert (answer[b"x"], answer[b"r"]) == (b"", rows(3 * MB))


def test_one_host_after_the_other_gets_its_share_of_the_memory_for_large_bodies(listen: Listen) -> None:
    """The first is always let in, though it alone is more than the budget."""
    wire = listen(large_bodies_bytes=4 * MB)
    wire.arm(1, hosts=(HOST, HOST + 1))
    first, second = write(20 * MB, HOST), write(20 * MB, HOST + 1)
    with wire.connect() as held:
        held.sendall(first[:-1])
        eventually(lambda: wire.gateway._budget._taken > 8 * MB)

        assert wire.send(second).answer == {"error": "too many large bodies at once, come again"}
        assert wire.send(write(500_000, HOST + 1, campaign=9)).answer == {}, "small bodies do not notice"

        held.sendall(first[-1:])
        assert reply(received(held)).answer == {}
    eventually(lambda: wire.gateway._budget._taken == 0)
    assert wire.send(second).answer == {}
    assert len(entries()) == 2


def test_what_a_large_body_held_is_given_back_when_its_client_leaves(listen: Listen) -> None:
    wire = listen()
    with wire.connect() as connection:
        connection.sendall(write(20 * MB)[:-1])
        eventually(lambda: wire.gateway._budget._taken > 8 * MB)

    eventually(lambda: wire.gateway._budget._taken == 0)


@pytest.mark.parametrize(("size", "is_seen"), [(3, True), (12, False)])
def test_log_bodies_are_acknowledged_and_dropped_above_the_limit(listen: Listen, size: int, is_seen: bool) -> None:
    wire = listen(max_body_bytes=8 * MB)

    assert wire.post("log", b'{"data":%s,"node_key":"%s"}' % (rows(size * MB), wire.key().encode())) == {}

    assert wire.gateway.counts["log batches"] == is_seen


@pytest.mark.parametrize(("verb", "answer"), [("distributed/read", {}), ("config", {"error"})])
def test_what_is_never_large_is_not_kept_when_it_is(wire: Wire, verb: str, answer: object) -> None:
    body = b'{"x":"%s","node_key":"%s"}' % (b"x" * 3 * MB, wire.key().encode())

    assert type(answer)(wire.post(verb, body)) == answer


@pytest.mark.parametrize("body", [b'{"queries":{"c1":[' + b"1," * MB, b"[" * 3 * MB, b'{"a":"' + b"\\" * 3 * MB])
def test_a_large_body_that_is_no_object_is_dropped(wire: Wire, body: bytes) -> None:
    wire.arm(1)

    assert wire.post("distributed/write", body) == {}
    assert entries() == []
    assert messages.members_of(body[:1000]) is None
