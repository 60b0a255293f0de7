"""What happens to bytes on the way: resends, lost clients, odd heads, chunks, gzip (protocol section 8, 1 to 11)."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from agents.board import keyspace, redis_client
from tests.agents.wire.conftest import HOST, Wire, entries, eventually, received, reply, request

ANSWER = b'"queries":{"c1":[{"a":"1"}]},"statuses":{"c1":0}'
Listen = Callable[..., Wire]


def at_once(wire: Wire, content: bytes, times: int) -> list[dict[str, Any]]:
    """Send the same bytes on several connections, all of them complete before the first answer is read."""
    connections = [wire.connect() for _ in range(times)]
    for connection in connections:
        connection.sendall(content[:-1])
    for connection in connections:
        connection.sendall(content[-1:])
    answers = []
    for connection in connections:
        with connection:
            answers.append(reply(received(connection)).answer)
    return answers


def written(wire: Wire, members: bytes = ANSWER) -> bytes:
    """Give the body of a write."""
    return b'{%s,"node_key":"%s"}' % (members, wire.key().encode())


def test_the_same_write_on_two_connections_at_once_is_one_answer(wire: Wire) -> None:
    wire.arm(1)

    assert at_once(wire, request("distributed/write", written(wire)), 10) == [{}] * 10

    assert len(entries()) == 1


def test_the_same_read_on_two_connections_at_once_is_one_delivery(wire: Wire) -> None:
    wire.arm(1)

    answers = at_once(wire, request("distributed/read", {"node_key": wire.key()}), 2)

    assert {"queries": {"c1": "SELECT 1"}} in answers
    assert len(entries(b"d")) == 1


def test_a_write_that_comes_again_later_merged_with_another_is_taken_for_the_other_alone(wire: Wire) -> None:
    wire.arm(1, 2)
    wire.write(ANSWER)

    assert wire.write(b'"queries":{"c1":[{"a":"again"}],"c2":[]}') == {}

    assert [(entry[b"c"], entry[b"r"]) for entry in entries()] == [(b"1", b'[{"a":"1"}]'), (b"2", b"[]")]


def test_a_client_that_leaves_before_it_is_answered_has_answered_once(wire: Wire) -> None:
    wire.arm(1)
    with wire.connect() as connection:
        connection.sendall(request("distributed/write", written(wire)))
        eventually(lambda: len(entries()) == 1)  # a server may forget who left before it came to him

    assert wire.write(ANSWER) == {}
    assert len(entries()) == 1


def test_a_client_that_leaves_half_way_has_said_nothing(wire: Wire) -> None:
    wire.arm(1)
    content = request("distributed/write", written(wire))
    for end in (len(content) - 1, len(content) - 40, 30):
        with wire.connect() as connection:
            connection.sendall(content[:end])

    assert wire.read() == {"queries": {"c1": "SELECT 1"}}
    assert entries() == []


def test_a_client_that_leaves_while_it_is_held_is_handed_nothing(listen: Listen) -> None:
    """At 16 seconds agents close, whatever the server is about."""
    wire = listen(hold_seconds=8.0)
    with wire.connect() as connection:
        connection.sendall(request("distributed/read", {"node_key": wire.key()}))
        eventually(lambda: len(wire.gateway.hold) == 1)
    eventually(lambda: len(wire.gateway.hold) == 0)

    wire.arm(1)

    assert entries(b"d") == []
    assert wire.read() == {"queries": {"c1": "SELECT 1"}}


def test_a_client_that_leaves_during_the_claim_gives_the_delivery_back(wire: Wire) -> None:
    wire.arm(1)
    client = redis_client.client()
    client.execute_command("CLIENT", "PAUSE", 3000, "WRITE")  # to its end: a busy server notices later who has left
    before = int(client.info("clients")["blocked_clients"])
    with wire.connect() as connection:
        connection.sendall(request("distributed/read", {"node_key": wire.key()}))
        eventually(lambda: wire.gateway.counts["distributed/read"] == 1)  # not only its follower is blocked
        eventually(lambda: int(client.info("clients")["blocked_clients"]) > before)

    eventually(lambda: len(entries(b"g")) == 1)
    assert client.hgetall(keyspace.flight_key(1)) == {}
    assert wire.read() == {"queries": {"c1": "SELECT 1"}}, "and not held, as after a delivery that may have arrived"


def test_the_newer_of_two_held_reads_gets_the_work(listen: Listen) -> None:
    wire = listen(hold_seconds=8.0)
    read = request("distributed/read", {"node_key": wire.key()})
    with wire.connect() as older, wire.connect() as newer:
        older.sendall(read)
        eventually(lambda: len(wire.gateway.hold) == 1)
        newer.sendall(read)

        assert reply(received(older)).answer == {}
        wire.arm(1)
        assert reply(received(newer)).answer == {"queries": {"c1": "SELECT 1"}}


def test_who_closes_without_a_word_costs_nothing(wire: Wire) -> None:
    for _ in range(50):
        wire.connect().close()
    with wire.connect() as idle:
        assert wire.read() == {}
        idle.shutdown(socket.SHUT_RDWR)


def test_bytes_may_come_one_by_one(wire: Wire) -> None:
    wire.arm(1)
    with wire.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("distributed/write", written(wire)):
            connection.sendall(bytes([byte]))
        assert reply(received(connection)).answer == {}

    assert len(entries()) == 1


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_a_body_that_never_arrives_is_not_waited_for(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("agents.gateway.body.ARRIVAL_SECONDS", 0.2)
    wire = listen()
    with wire.connect() as connection:
        connection.sendall(request("distributed/write", b"{" + b" " * 200_000)[: size - 200_001])

        assert "did not arrive" in reply(received(connection)).answer["error"]


# --- heads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"content-type: application/json; charset=utf-8",
        b"CONTENT-TYPE: text/plain",
        b"X-Odd: \xff\xfe",
        b"Content-Type:",
        b"Accept-Encoding: gzip, br",
        b"Connection: keep-alive",
        b"X-Long: " + b"x" * 8000,
        b"Authorization: Basic eDp5",
        b"Authorization:\r\nAuthorization: NodeKey",
        b"Content-Encoding: identity",
        b"Content-Encoding: gzip",
    ],
)
def test_odd_heads_change_nothing(wire: Wire, head: bytes) -> None:
    wire.arm(1)
    body = written(wire)
    bare = b"POST /api/osquery/distributed/write HTTP/1.1\r\nHost: x\r\n%s\r\ncontent-length:%d\r\n\r\n%s"

    assert wire.send(bare % (head, len(body), body)).answer == {}

    assert len(entries()) == 1


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.2"])
def test_asked_to_switch_protocols_the_server_reads_the_body_or_makes_it_come_again(
    wire: Wire, protocol: bytes
) -> None:
    """`{}` for a body that nobody read would make the agent drop what it had."""
    wire.arm(1)

    wire.send(request("distributed/write", written(wire), b"Connection: Upgrade", b"Upgrade: " + protocol))

    assert wire.read() in ({}, {"queries": {"c1": "SELECT 1"}})
    assert (wire.read() == {}) is (len(entries()) == 1), "taken, or still owed"


@pytest.mark.parametrize("path", ["/api/v1/osquery/distributed/write", "/api/osquery/distributed/write/"])
def test_both_addresses_lead_to_the_same_endpoint(wire: Wire, path: str) -> None:
    wire.arm(1)

    content = request("distributed/write", written(wire)).replace(b"/api/osquery/distributed/write", path.encode())

    assert wire.send(content).answer == {}
    assert len(entries()) == 1


@pytest.mark.parametrize("path", ["nothing", "", "config/x", "%ff", "distributed/read?enroll_secret=x", "carve"])
def test_other_addresses_answer_an_object(wire: Wire, path: str) -> None:
    assert set(wire.send(request(path, {"node_key": wire.key()})).answer) <= {"error"}


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS"])
def test_other_methods_answer_an_error(wire: Wire, method: bytes) -> None:
    content = request("distributed/read", {"node_key": wire.key()}).replace(b"POST", method, 1)

    assert "error" in wire.send(content).answer


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\r\n\r\n",
        b"POST /api/osquery/log HTTP/9.9\r\n\r\n",
        b"POST /api/osquery/log HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api/osquery/log HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}",
        b"POST /api/osquery/log HTTP/1.1\r\n%sContent-Length: 2\r\n\r\n{}" % (b"X: y\r\n" * 200),
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_no_http_is_refused_before_anybody_sees_it(wire: Wire, content: bytes) -> None:
    """Without a body, which agents would take for success: none of them, and no proxy, sends such."""
    with wire.connect() as connection:
        connection.sendall(content)
        refusal = received(connection)

    assert refusal.startswith(b"HTTP/1.1 4")
    assert wire.gateway.counts == {}


@pytest.mark.parametrize("verb", ["log", "distributed/write", "enroll", "carve/block"])
@pytest.mark.parametrize("body", [b"Content-Length: 9\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_whoever_sends_no_whole_body_and_listens_is_told_to_come_again(wire: Wire, verb: str, body: bytes) -> None:
    with wire.connect() as connection:
        connection.sendall(b"POST /api/osquery/%s HTTP/1.1\r\n%s" % (verb.encode(), body))
        connection.shutdown(socket.SHUT_WR)
        told = reply(received(connection)).body

    sentence = told.decode() if verb.startswith("carve") else json.loads(told)["error"]
    assert "the body broke off before its end" in sentence


# --- 100-continue and chunks ------------------------------------------------------------------------------------


def test_who_did_not_ask_gets_no_interim_answer(wire: Wire) -> None:
    """An agent would take it for the whole answer, and drop what it had."""
    with wire.connect() as connection:
        connection.sendall(request("distributed/write", written(wire))[:-1])
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_who_asks_whether_to_continue_is_told_to_and_answered_then(wire: Wire) -> None:
    wire.arm(1)
    body = written(wire)
    content = request("distributed/write", body, b"Expect: 100-continue")
    with wire.connect() as connection:
        connection.sendall(content[: -len(body)])
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert reply(received(connection)).answer == {}

    assert len(entries()) == 1


def chunked(body: bytes, size: int) -> bytes:
    """Write a body in chunks, with an extension and a trailer."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-Trailer: x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 10, 100_000])
@pytest.mark.parametrize("compress", [False, True])
def test_bodies_may_come_in_chunks(wire: Wire, size: int, compress: bool) -> None:
    wire.arm(1)
    body = gzip.compress(written(wire)) if compress else written(wire)
    head = b"POST /api/osquery/distributed/write HTTP/1.1\r\nHost: x\r\ntransfer-encoding: CHUNKED\r\n\r\n"

    assert wire.send(head + chunked(body, size)).answer == {}

    assert len(entries()) == 1


# --- gzip -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head", [b"Content-Encoding: gzip", b"content-encoding: GZIP", b"Content-Encoding: x-gzip", b"X-None: x"]
)
def test_compressed_bodies_are_known_by_their_first_bytes(wire: Wire, head: bytes) -> None:
    wire.arm(1)

    assert wire.post("distributed/write", gzip.compress(written(wire)), head) == {}

    assert len(entries()) == 1


def test_a_compressed_batch_of_log_lines_is_acknowledged(wire: Wire) -> None:
    body = json.dumps({"node_key": wire.key(), "log_type": "result", "data": [{"name": "x" * 1000}] * 5000}).encode()

    assert wire.post("log", gzip.compress(body, 9), b"Content-Encoding: gzip") == {}
    assert wire.gateway.counts["log batches"] == 1


@pytest.mark.parametrize("verb", ["log", "distributed/write"])
@pytest.mark.parametrize(
    "garble",
    [
        lambda packed: packed[:-12],
        lambda packed: packed[:20] + b"\x00" * 20 + packed[40:],
        lambda packed: packed[:2],
        lambda packed: packed + packed,
        lambda packed: zlib.compress(packed),
    ],
)
def test_garbled_compression_is_dropped_and_never_comes_again(
    wire: Wire, verb: str, garble: Callable[[bytes], bytes]
) -> None:
    packed = gzip.compress(written(wire, b'"data":[],"queries":{"c9":[%s]}' % b",".join(b"%d" % n for n in range(500))))

    assert wire.post(verb, garble(packed), b"Content-Encoding: gzip") == {}
    assert wire.gateway.counts["failed"] == 0


@pytest.mark.parametrize("verb", ["log", "distributed/write"])
def test_a_zip_bomb_is_dropped(listen: Listen, verb: str) -> None:
    wire = listen(max_body_bytes=10 * 2**20)
    bomb = gzip.compress(b'{"node_key":"' + b"0" * 50 * 2**20 + b'"}')

    assert wire.post(verb, bomb, b"Content-Encoding: gzip") == {}
    assert wire.read(HOST) == {}
