"""The operators' side of the board: arm, release, pause, close, look.

What stands here for a campaign is a number, SQL and bitmaps; whose they are and why is not this side's business.
Times are aware datetimes, of Redis' own clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import redis
from django.conf import settings

from agents.board import keyspace, redis_client
from agents.board.bitmaps import bitmap_of
from agents.board.clock import in_ms, moment, now
from agents.models import BUSY

RELEASED_ALL = 2**31 - 1  # no hash of a host is above it
BITS_A_CALL = 5_000  # of one call of a script, whose arguments Lua must hold
SLOW_INTERVAL_SECONDS = 8


class Armed(NamedTuple):
    """When the campaign's time began and ends."""

    started_at: datetime
    ends_at: datetime


class Closed(NamedTuple):
    """When the campaign was closed, and the stream's last entry at that moment."""

    at: datetime
    entry: str


@dataclass(frozen=True)
class Brakes:
    """What holds a campaign back on the board itself."""

    released: int = RELEASED_ALL  # hosts whose hash is not above it
    denylisted: int | None = None  # so many stop it at once; None = any number
    watched: bool = False  # nothing is handed out while the sweep is silent
    alone: bool = False  # handed out beside nothing else


def _keys_of_range(campaign: int, number: int) -> list[str]:
    """Name what every script that changes one range takes first."""
    return [
        keyspace.EPOCH,
        keyspace.VERSION,
        keyspace.PIECES,
        keyspace.campaign_key(campaign),
        keyspace.owed_key(campaign, number),
        keyspace.offer_key(campaign, number),
    ]


def arm(
    campaign: int, number: int, hosts: Iterable[int], sql: str, timeout: int, brakes: Brakes = Brakes()
) -> Armed | None:
    """Put the released targets of one range on the board, once; None when the campaign is closed there."""
    keys = [*_keys_of_range(campaign, number), keyspace.CAMPAIGNS]
    args = [campaign, number, bitmap_of(hosts), sql, timeout * 1000, redis_client.bell(), brakes.released]
    args += ["" if brakes.denylisted is None else brakes.denylisted, int(brakes.watched), int(brakes.alone)]
    answer = redis_client.call("arm", keys, args)
    return Armed(moment(answer[1]), moment(answer[2])) if answer[0] == b"armed" else None


def release(campaign: int, number: int, hosts: Iterable[int], released: int | None = None) -> None:
    """Let more hosts of a range be handed the SQL, once for each `released`; None = they joined late.

    Raise NoBoardError.
    """
    bits = [keyspace.seat_of(host).bit for host in hosts]
    if not bits and released is None:
        return
    keys = _keys_of_range(campaign, number)
    # All bits in one call when it is fenced: the fence lets a second call with the same `released` do nothing.
    step = len(bits) or 1 if released is not None else BITS_A_CALL
    for start in range(0, max(1, len(bits)), step):
        fence = "" if released is None else released
        redis_client.call("release", keys, [campaign, number, fence, redis_client.bell(), *bits[start : start + step]])


def released_to(campaign: int, ranges: Iterable[int]) -> dict[int, int]:
    """Give how far each range is released on the board; ranges that were never released by steps are left out."""
    numbers = list(ranges)
    fields = [f"released:{number}" for number in numbers]
    thresholds = redis_client.client().hmget(keyspace.campaign_key(campaign), fields) if fields else []
    return {
        number: int(threshold) for number, threshold in zip(numbers, thresholds, strict=True) if threshold is not None
    }


def pause(campaign: int, ranges: list[int]) -> timedelta | None:
    """Hand the campaign out no more for now; give the time it has left, None when it is closed."""
    answer = _pause(campaign, "pause", ranges)
    return timedelta(milliseconds=float(answer[1])) if answer[0] == b"paused" else None


def resume(campaign: int, ranges: list[int]) -> datetime | None:
    """Go on handing it out; give when it ends now, None when it is closed."""
    answer = _pause(campaign, "resume", ranges)
    return moment(answer[1]) if answer[0] == b"open" else None


def _pause(campaign: int, verb: str, ranges: list[int]) -> list[bytes]:
    keys = [keyspace.EPOCH, keyspace.VERSION, keyspace.PIECES, keyspace.campaign_key(campaign)]
    return redis_client.call("pause", keys, [campaign, verb, redis_client.bell(), *ranges])


class Standing(NamedTuple):
    """How a campaign stands on the board."""

    is_closed: bool
    is_paused: bool
    braked: int | None  # so many denylisted hosts pulled its brake


def standings(campaigns: Iterable[int]) -> dict[int, Standing]:
    """Give how these campaigns stand, in one round trip; those that the board does not know are left out."""
    ids = list(campaigns)
    pipe = redis_client.client().pipeline(transaction=False)
    for campaign in ids:
        pipe.hmget(keyspace.campaign_key(campaign), "open", "paused", "braked", "denylisted")
    answers = zip(ids, pipe.execute(), strict=True)
    return {
        campaign: Standing(open_ == b"0", paused is not None, int(denylisted or 0) if braked else None)
        for campaign, (open_, paused, braked, denylisted) in answers
        if open_ is not None
    }


def take_offers(campaign: int, hosts: Iterable[int]) -> None:
    """Hand the SQL to these hosts no more; they may still answer."""
    pipe = redis_client.client().pipeline()
    for host in hosts:
        seat = keyspace.seat_of(host)
        pipe.setbit(keyspace.offer_key(campaign, seat.number), seat.bit, 0)
        pipe.hdel(keyspace.flight_key(campaign), str(host))
    pipe.execute()


def switch_off(*, off: bool) -> None:
    """Hand out no campaign at all, or do so again: the kill switch."""
    if off:
        redis_client.client().set(keyspace.OFF, in_ms(now()))
    else:
        redis_client.client().delete(keyspace.OFF)


def arm_again(campaign: int, number: int, bits: list[int], last_entry: str) -> int:
    """Set bits the board has lost; give how many were, -1 when the stream moved on since `last_entry`."""
    keys = [*_keys_of_range(campaign, number), keyspace.STREAM]
    return int(
        redis_client.script("arm_again")(keys=keys, args=[campaign, number, last_entry, redis_client.bell(), *bits])
    )


def ask(campaign: int, sql: str, hosts: Iterable[int], *, is_live: bool = False) -> None:
    """Let hosts be asked housekeeping SQL (a negative id) at their next read. Raise NoBoardError.

    What is live, SQL that people wrote, waits while the kill switch is on.
    """
    ranges: dict[int, list[int]] = defaultdict(list)
    for host in hosts:
        seat = keyspace.seat_of(host)
        ranges[seat.number].append(seat.bit)
    for number, bits in ranges.items():
        keys = _keys_of_range(campaign, number)
        for start in range(0, len(bits), BITS_A_CALL):
            redis_client.call(
                "ask",
                keys,
                [campaign, number, sql, redis_client.bell(), int(is_live), *bits[start : start + BITS_A_CALL]],
            )


def withdraw(campaign: int) -> None:
    """Ask nobody a housekeeping query any more, and drop what hosts still answer."""
    keys = keys_of(campaign)
    fields = [name for name in redis_client.client().hkeys(keyspace.PIECES) if name.startswith(f"{campaign}:".encode())]
    pipe = redis_client.client().pipeline().unlink(*keys)
    if fields:
        pipe.hdel(keyspace.PIECES, *fields)
    pipe.incr(keyspace.VERSION).publish(redis_client.bell(), "withdrawn").execute()


def housekept() -> int | None:
    """Give the last minute of Unix time whose hosts were asked; None when no board remembers."""
    minute = redis_client.client().get(keyspace.HOUSEKEPT)
    return int(minute) if minute else None


def note_housekept(minute: int) -> None:
    """Remember the last minute whose hosts were asked."""
    redis_client.client().set(keyspace.HOUSEKEPT, minute)


def note_interval(hosts: Mapping[int, int]) -> None:
    """Note the seconds that hosts themselves pause between reads: long ones are told to come quickly for a while."""
    slow = [host for host, seconds in hosts.items() if seconds > SLOW_INTERVAL_SECONDS]
    quick = [host for host, seconds in hosts.items() if seconds <= SLOW_INTERVAL_SECONDS]
    if slow:
        redis_client.client().sadd(keyspace.SLOW_POLLERS, *slow)
    if quick:
        redis_client.client().srem(keyspace.SLOW_POLLERS, *quick)


def close(campaign: int, ranges: list[int], at: datetime | None = None) -> Closed:
    """Hand the campaign out no more, as of `at` (None = now) or of its end, whichever was first. Safe twice."""
    keys = [
        keyspace.EPOCH,
        keyspace.VERSION,
        keyspace.PIECES,
        keyspace.campaign_key(campaign),
        keyspace.flight_key(campaign),
        keyspace.STREAM,
        keyspace.CAMPAIGNS,
        keyspace.unanswered_key(campaign),
        *(keyspace.offer_key(campaign, number) for number in ranges),
    ]
    latest = in_ms(at) if at else ""
    kept_ms = settings.LATE_ANSWER_SECONDS * 1000
    args = [campaign, latest, kept_ms, redis_client.bell(), BUSY // timedelta(milliseconds=1), *ranges]
    answer = redis_client.call("close", keys, args)
    return Closed(moment(answer[1]), answer[2].decode())


def forget(campaign: int) -> None:
    """Take an ended campaign off the board: what its hosts still send is dropped from now on."""
    redis_client.client().pipeline().unlink(*keys_of(campaign)).srem(keyspace.CAMPAIGNS, campaign).execute()


def keys_of(campaign: int) -> list[str]:
    """Name every key of a campaign; its hash knows the ranges."""
    keys = [keyspace.campaign_key(campaign), keyspace.flight_key(campaign)]
    for name in redis_client.client().hkeys(keyspace.campaign_key(campaign)):
        kind, _, number = name.decode().partition(":")
        if kind == "range":
            keys += (keyspace.owed_key(campaign, int(number)), keyspace.offer_key(campaign, int(number)))
    return keys


def known() -> set[int]:
    """Name the campaigns on the board, open or closed."""
    return {int(campaign) for campaign in redis_client.client().smembers(keyspace.CAMPAIGNS)}


def offered(campaign: int, number: int) -> bytes:
    """Give the bitmap of hosts of a range that may still be handed the SQL."""
    offered: bytes = redis_client.client().get(keyspace.offer_key(campaign, number)) or b""
    return offered


def count_offered(campaign: int, ranges: Iterable[int]) -> int:
    """Count the hosts of some ranges that may still be handed the SQL."""
    pipe = redis_client.client().pipeline(transaction=False)
    for number in ranges:
        pipe.bitcount(keyspace.offer_key(campaign, number))
    return sum(pipe.execute())


def last_entry() -> str:
    """Give the id of the last entry the stream ever had."""
    try:
        return str(redis_client.client().xinfo_stream(keyspace.STREAM)["last-generated-id"].decode())
    except redis.ResponseError:  # no stream yet
        return "0-0"


def has_entries_after(entry: str) -> bool:
    """Say whether the stream holds entries after this one."""
    return bool(redis_client.client().xrange(keyspace.STREAM, min=keyspace.entry_after(entry), count=1))


def set_config(text: str) -> None:
    """Let gateways serve this config, a JSON object, within a second."""
    pipe = redis_client.client().pipeline().set(keyspace.CONFIG, text)
    pipe.incr(keyspace.VERSION).publish(redis_client.bell(), "config").execute()


def set_floor(host: int, floor: int) -> None:
    """Refuse keys of a host below this epoch, on every gateway within a second."""
    pipe = redis_client.client().pipeline().hset(keyspace.FLOORS, str(host), floor)
    pipe.incr(keyspace.VERSION).publish(redis_client.bell(), "floor").execute()
