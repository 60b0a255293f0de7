"""What gateways and other processes told of themselves and of hosts on the board, read by the sweep and by people."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from agents.board import clock, keyspace, redis_client

# A gateway that told nothing for so long is not waited for: one that is frozen or cut off mostly comes back sooner, and
# one that was killed puts off by this much the end of campaigns that wait for hosts.
GATEWAY_SILENT_MS = 15_000
GATEWAY_FORGOTTEN_MS = 60_000


class Reads(NamedTuple):
    """When a host asked: the last time, the one before, and since when without a pause of a minute."""

    last: datetime
    before: datetime
    streak: datetime

    def between(self, start: datetime, end: datetime) -> bool:
        """Say whether the host asked between two moments, as far as three times can tell.

        Asking on both sides of [start, end] without a long pause counts as asking within.
        """
        if any(start <= moment <= end for moment in self):
            return True
        return self.streak < start and self.last > end


def all_told_since(when: datetime) -> bool:
    """Say whether every living gateway has told since `when` which hosts asked it."""
    current, since = clock.in_ms(clock.now()), clock.in_ms(when)
    told_at = [int(at) for at in redis_client.client().hvals(keyspace.GATEWAYS)]
    return all(at > since for at in told_at if at > current - GATEWAY_SILENT_MS)


def note_sweep() -> None:
    """Tell that the sweep is alive."""
    redis_client.client().set(keyspace.SWEPT, clock.in_ms(clock.now()))


def note_worker() -> None:
    """Tell that a worker of launches is alive."""
    redis_client.client().set(keyspace.WORKED, clock.in_ms(clock.now()))


class Load(NamedTuple):
    """How much gateways hold and could hold, and how much waits to be stored, for how long."""

    gateways: int
    held_reads: int
    most_held_reads: int
    answers_waiting: int
    bytes_waiting: int
    longest_wait_ms: int


def load() -> Load:
    """Look at what gateways told within a minute, and at the stream."""
    pipe = redis_client.client().pipeline(transaction=False)
    pipe.hvals(keyspace.HELD).xlen(keyspace.STREAM).memory_usage(keyspace.STREAM, samples=100)
    pipe.xrange(keyspace.STREAM, count=1).time()
    holding, answers, size, oldest, (seconds, micros) = pipe.execute()
    held = [[int(number) for number in value.split()[:2]] for value in holding]
    now = seconds * 1000 + micros // 1000
    wait = max(0, now - keyspace.entry_ms(oldest[0][0].decode())) if oldest else 0
    reads, most = (sum(each[place] for each in held) for place in (0, 1))
    return Load(len(held), reads, most, answers, size or 0, wait)


def forget_silent_gateways() -> None:
    """Drop gateways that told nothing for a minute."""
    oldest = clock.in_ms(clock.now()) - GATEWAY_FORGOTTEN_MS
    silent = [name for name, at in redis_client.client().hgetall(keyspace.GATEWAYS).items() if int(at) < oldest]
    if silent:
        redis_client.client().pipeline().hdel(keyspace.GATEWAYS, *silent).hdel(keyspace.HELD, *silent).execute()


def reads_of(hosts: list[int]) -> dict[int, Reads]:
    """Give when these hosts asked; hosts that never did are left out."""
    if not hosts:
        return {}
    values = redis_client.client().hmget(keyspace.READS, [str(host) for host in hosts])
    return {host: _reads(value) for host, value in zip(hosts, values, strict=True) if value}


class Use(NamedTuple):
    """When and from which address a key of a host was used last."""

    at: datetime
    address: str


def last_uses_of(hosts: list[int]) -> dict[int, Use]:
    """Give when and from where a key of these hosts was used last, as gateways told; who used none is left out."""
    if not hosts:
        return {}
    values = redis_client.client().hmget(keyspace.ADDRESSES, [str(host) for host in hosts])
    return {host: _use(value.decode()) for host, value in zip(hosts, values, strict=True) if value}


def _use(told: str) -> Use:
    at, _, address = told.partition(" ")
    return Use(clock.moment(at), address)


def all_last_reads() -> Iterable[tuple[int, int]]:
    """Walk over every host and when it asked last, in ms: there may be a million, every few seconds."""
    for host, value in redis_client.client().hscan_iter(keyspace.READS, count=2000):
        yield int(host), int(value.partition(b" ")[0])


def all_last_writes() -> Iterable[tuple[int, int]]:
    """Walk over every host that ever wrote and when it did last, in ms."""
    for host, value in redis_client.client().hscan_iter(keyspace.WRITES, count=2000):
        yield int(host), int(value)


def _reads(value: bytes) -> Reads:
    return Reads(*(clock.moment(part) for part in value.split()))


def take_doubts() -> dict[int, str]:
    """Take what gateways told of hosts whose key is used by a second machine: host -> how it was noticed."""
    pipe = redis_client.client().pipeline()
    doubts = pipe.hgetall(keyspace.DOUBTS).delete(keyspace.DOUBTS).execute()[0]
    return {int(host): reason.decode() for host, reason in doubts.items()}
