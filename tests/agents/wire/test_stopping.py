"""A server that is told to stop answers whom it holds, and closes on nobody without a word."""

import selectors
import signal
import socket
import time
from collections.abc import Callable

from agents.board import keyspace, redis_client
from tests.agents.wire.conftest import (
    STOP_PATIENCE,
    GatewayProcess,
    StartProcess,
    Wire,
    eventually,
    key_of,
    received,
    reply,
    request,
)

READS = 300


def read_of(host: int) -> bytes:
    return request("distributed/read", {"node_key": key_of(host)})


def held(process: GatewayProcess, many: int) -> list[socket.socket]:
    """Open reads, and wait until all of them are held."""
    connections = []
    for host in range(1, many + 1):
        connection = process.connect()
        connection.sendall(read_of(host))
        connections.append(connection)
    eventually(lambda: b"%d" % many in [value.split()[0] for value in redis_client.client().hvals(keyspace.HELD)])
    return connections


def closing_times(connections: list[socket.socket]) -> tuple[list[bytes], list[float]]:
    """Read until all are closed; give what came on each, and when, in seconds from now."""
    came = dict.fromkeys(connections, b"")
    times = []
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(10):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                piece = connection.recv(2**16)
                came[connection] += piece
                if not piece:
                    selector.unregister(connection)
                    connection.close()
                    times.append(time.monotonic() - began)
    return list(came.values()), times


def test_held_reads_are_answered_within_a_second_of_sigterm_spread_and_none_is_dropped(
    own_process: StartProcess,
) -> None:
    process = own_process(hold_seconds=15)
    connections = held(process, READS)

    process.process.send_signal(signal.SIGTERM)
    contents, times = closing_times(connections)

    assert [reply(content).answer for content in contents] == [{}] * READS
    assert max(times) < 10, "within a second, and whatever a busy machine adds: they are held for 12 at least"
    assert max(times) - min(times) > 0.4, "agents do not march in step"
    assert process.process.wait(STOP_PATIENCE) in (0, -signal.SIGTERM)


def test_a_read_that_comes_after_sigterm_on_an_open_connection_is_not_held(own_process: StartProcess) -> None:
    process = own_process(hold_seconds=15)
    (first,) = held(process, 1)
    with process.connect() as late:
        late.sendall(read_of(2)[:-1])
        process.process.send_signal(signal.SIGTERM)
        assert closing_times([first])[0]
        late.sendall(read_of(2)[-1:])
        assert reply(received(late)).answer == {}


def test_without_holding_every_read_is_answered_at_once(listen: Callable[..., Wire]) -> None:
    wire = listen(hold_seconds=0.0)

    began = time.monotonic()
    assert wire.read() == {}

    assert time.monotonic() - began < 5, "at once, and whatever a busy machine adds"
    assert wire.post("config", {"node_key": wire.key()})["options"]["distributed_interval"] == 10


def test_a_held_read_ends_by_itself_with_an_empty_object(listen: Callable[..., Wire]) -> None:
    wire = listen(hold_seconds=0.5)

    began = time.monotonic()
    assert wire.read() == {}

    assert 0.4 <= time.monotonic() - began < 5, "80 to 100 % of HOLD_SECONDS, and whatever a busy machine adds"
    assert wire.post("config", {"node_key": wire.key()})["options"]["distributed_interval"] == 2


def test_a_read_whose_time_is_up_while_its_bit_is_set_gets_the_work(listen: Callable[..., Wire]) -> None:
    """Pacing delays wakes, not ends."""
    wire = listen(hold_seconds=0.5)
    with wire.connect() as connection:
        connection.sendall(read_of(12))
        eventually(lambda: len(wire.gateway.hold) == 1)
        wire.gateway.hold.wake = lambda fresh: None  # type: ignore[method-assign]
        wire.arm(1)

        assert reply(received(connection)).answer == {"queries": {"c1": "SELECT 1"}}


def test_above_the_most_held_reads_idle_ones_are_answered_at_once(listen: Callable[..., Wire]) -> None:
    wire = listen(hold_seconds=8.0, max_held_reads=1)
    with wire.connect() as connection:
        connection.sendall(read_of(12))
        eventually(lambda: len(wire.gateway.hold) == 1)

        assert wire.read(13) == {}
        wire.arm(1, hosts=(13,))
        assert wire.read(13) == {"queries": {"c1": "SELECT 1"}}
