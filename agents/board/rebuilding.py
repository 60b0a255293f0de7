"""Write the board anew from what Postgres knows: Redis restarted, was replaced or was emptied."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings

from agents.board import clock, keyspace, operator_verbs, redis_client
from agents.board.bitmaps import bitmap_of

HOSTS_A_CALL = 10_000


@dataclass(frozen=True)
class Kept:
    """What Postgres knows of one campaign that belongs on the board: open, or closed and still taking answers."""

    campaign: int
    sql: str
    started_at: datetime
    ends_at: datetime | None  # None while it is paused
    left: timedelta | None  # the time it has left while it is paused
    brakes: operator_verbs.Brakes
    denylisted: int
    closed: operator_verbs.Closed | None
    ranges: list[int]  # those that were armed
    owed: Mapping[int, list[int]]  # range -> bits
    offer: Mapping[int, list[int]]
    flight: Mapping[int, tuple[int, datetime]]  # host -> deliveries, delivered_at


def run_id() -> str:
    """Give the id of the running Redis process; another one means that it restarted or was replaced."""
    return str(redis_client.client().info("server")["run_id"])


def epoch() -> tuple[str, str] | None:
    """Give the run id and the time the board's epoch holds; None when there is no whole board."""
    value = redis_client.client().get(keyspace.EPOCH)
    if value is None:
        return None
    run, _, at = value.decode().partition(":")
    return run, at


def begin() -> None:
    """Take the epoch away: from now on every script says *no board*, and nothing but `restore` writes."""
    redis_client.client().delete(keyspace.EPOCH)


def mark_stream(after: str) -> str:
    """Begin the stream at an id later than `after` and than now, so that no answer can fall behind the cursor."""
    first = f"{max(clock.in_ms(clock.now()), keyspace.entry_ms(after) + 1)}-0"
    if keyspace.entry_order(operator_verbs.last_entry()) >= keyspace.entry_order(first):
        return operator_verbs.last_entry()
    return str(redis_client.client().xadd(keyspace.STREAM, {"k": "b"}, id=first).decode())


def restore(kept: Kept) -> None:
    """Write one campaign. Ranges count as armed, so that a task that comes late does not arm them again."""
    pipe = redis_client.client().pipeline()
    pipe.hset(keyspace.campaign_key(kept.campaign), mapping=_fields(kept)).sadd(keyspace.CAMPAIGNS, kept.campaign)
    version = redis_client.client().incr(keyspace.VERSION)
    for number, bits in kept.owed.items():
        pipe.set(keyspace.owed_key(kept.campaign, number), bitmap_of(bits))
        if not kept.closed:
            pipe.set(keyspace.offer_key(kept.campaign, number), bitmap_of(kept.offer.get(number, [])))
        if not kept.closed and kept.left is None:
            pipe.hset(keyspace.PIECES, keyspace.piece_field(kept.campaign, number), version)
    for host, (deliveries, delivered_at) in kept.flight.items():
        at = clock.in_ms(delivered_at)
        pipe.hset(keyspace.flight_key(kept.campaign), str(host), f"{deliveries} {at} 0 0")
    pipe.execute()


def _fields(kept: Kept) -> dict[str, Any]:
    """Give the hash of a campaign, as arming and closing would have left it."""
    fields: dict[str, Any] = {
        "open": "0" if kept.closed else "1",
        "sql": kept.sql,
        "started_at": clock.in_ms(kept.started_at),
        "denylisted": kept.denylisted,
        **{f"range:{number}": "1" for number in kept.ranges},
        **{f"released:{number}": kept.brakes.released for number in kept.ranges},
        **_held_back(kept),
    }
    if kept.closed:
        closed_at = clock.in_ms(kept.closed.at)
        forget_at = closed_at + settings.LATE_ANSWER_SECONDS * 1000
        fields |= {"closed_at": closed_at, "closed_entry": kept.closed.entry, "forget_at": forget_at}
    return fields


def _held_back(kept: Kept) -> dict[str, Any]:
    """Give what keeps a campaign from being handed out, now or later."""
    limit = kept.brakes.denylisted
    fields = {
        "ends_at": kept.ends_at and clock.in_ms(kept.ends_at),
        "paused": None if kept.left is None else round(kept.left.total_seconds() * 1000),
        "watch": 1 if kept.brakes.watched else None,
        "alone": 1 if kept.brakes.alone else None,
        "brake": limit,
        "braked": 1 if limit is not None and kept.denylisted >= limit else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def clear() -> None:
    """Remove every campaign's keys, the versions and the floors, before they are written anew."""
    for campaign in operator_verbs.known():
        redis_client.client().unlink(*operator_verbs.keys_of(campaign))
    redis_client.client().delete(keyspace.PIECES, keyspace.CAMPAIGNS, keyspace.FLOORS)


def restore_reads(last_seen: Iterable[tuple[int, datetime]]) -> None:
    """Write when hosts asked last, as Postgres knows it, unless Redis still knows better."""
    if redis_client.client().exists(keyspace.READS):
        return
    hosts = iter(last_seen)
    while batch := list(islice(hosts, HOSTS_A_CALL)):
        reads = {str(host): " ".join([str(clock.in_ms(at))] * 3) for host, at in batch}
        redis_client.client().hset(keyspace.READS, mapping=reads)


def finish(floors: Mapping[int, int], config: str = "{}") -> None:
    """Write floors and config, a version no copy knows, and last the epoch: the board is whole again."""
    current = clock.in_ms(clock.now())
    pipe = redis_client.client().pipeline().set(keyspace.CONFIG, config)
    if floors:
        pipe.hset(keyspace.FLOORS, mapping={str(host): floor for host, floor in floors.items()})
    pipe.set(keyspace.VERSION, current * 1000)
    pipe.set(keyspace.EPOCH, f"{run_id()}:{current}")
    pipe.publish(redis_client.bell(), "epoch")
    pipe.execute()
