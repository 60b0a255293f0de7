"""What gateways and other processes told of themselves and of hosts on the board, read by the sweep and by people."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from agents import open_work
from fleet import keyspace

GATEWAY_SILENT_MS = 5_000  # a gateway that told nothing for so long is not waited for
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
    current, since = open_work.in_ms(open_work.now()), open_work.in_ms(when)
    told = [int(at) for at in open_work.client().hvals(keyspace.GATEWAYS)]
    return all(at > since for at in told if at > current - GATEWAY_SILENT_MS)


def note_sweep() -> None:
    """Tell that the sweep is alive."""
    open_work.client().set(keyspace.SWEPT, open_work.in_ms(open_work.now()))


def note_worker() -> None:
    """Tell that a worker of launches is alive."""
    open_work.client().set(keyspace.WORKED, open_work.in_ms(open_work.now()))


class Load(NamedTuple):
    """How much gateways hold, and how much waits to be stored."""

    gateways: int
    held_reads: int
    answers_waiting: int
    bytes_waiting: int


def load() -> Load:
    """Look at what gateways told within a minute, and at the stream."""
    pipe = open_work.client().pipeline(transaction=False)
    pipe.hvals(keyspace.HELD).xlen(keyspace.STREAM).memory_usage(keyspace.STREAM, samples=100)
    held, answers, size = pipe.execute()
    return Load(len(held), sum(int(value.split()[0]) for value in held), answers, size or 0)


def forget_silent_gateways() -> None:
    """Drop gateways that told nothing for a minute."""
    oldest = open_work.in_ms(open_work.now()) - GATEWAY_FORGOTTEN_MS
    silent = [name for name, at in open_work.client().hgetall(keyspace.GATEWAYS).items() if int(at) < oldest]
    if silent:
        open_work.client().pipeline().hdel(keyspace.GATEWAYS, *silent).hdel(keyspace.HELD, *silent).execute()


def reads_of(hosts: list[int]) -> dict[int, Reads]:
    """Give when these hosts asked; hosts that never did are left out."""
    if not hosts:
        return {}
    told = open_work.client().hmget(keyspace.READS, [str(host) for host in hosts])
    return {host: _reads(value) for host, value in zip(hosts, told, strict=True) if value}


def all_last_reads() -> Iterable[tuple[int, datetime]]:
    """Walk over every host and when it asked last."""
    for host, value in open_work.client().hscan_iter(keyspace.READS, count=2000):
        yield int(host), _reads(value).last


def _reads(value: bytes) -> Reads:
    return Reads(*(open_work.moment(part) for part in value.split()))


def take_doubts() -> dict[int, str]:
    """Take what gateways told of hosts whose key is used by a second machine: host -> how it was noticed."""
    pipe = open_work.client().pipeline()
    doubts = pipe.hgetall(keyspace.DOUBTS).delete(keyspace.DOUBTS).execute()[0]
    return {int(host): reason.decode() for host, reason in doubts.items()}
