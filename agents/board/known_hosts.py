"""Which database the board is of, and which hosts it has, so that gateways know strangers without I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from agents.board import keyspace, redis_client
from agents.protocol.node_key import TAG_BYTES

STRANGE_KEYS = (
    keyspace.READS,
    keyspace.WRITES,
    keyspace.ADDRESSES,
    keyspace.KEYS_IN_USE,
    keyspace.DOUBTS,
    keyspace.SLOW_POLLERS,
)


class Life(NamedTuple):
    """One life of a database: its name, and where it lies; a restored one lies elsewhere."""

    name: str
    place: str


def life() -> Life | None:
    """Give whose board this is; None when a version wrote it that named none."""
    name, place = redis_client.client().hmget(keyspace.INSTALLATION, "name", "place")
    return Life(name.decode(), place.decode()) if name and place else None


def note(here: Life, tags: Mapping[int, bytes]) -> None:
    """Let gateways know hosts, before their enrollment is committed. Raise NoBoardError: then nobody may enroll."""
    ranges: dict[int, list[int | bytes]] = defaultdict(list)
    for host, tag in tags.items():
        seat = keyspace.seat_of(host)
        ranges[seat.number] += seat.bit * TAG_BYTES, tag
    for number, tags_of_range in ranges.items():
        keys = [keyspace.EPOCH, keyspace.INSTALLATION, keyspace.HOSTS, keyspace.hosts_key(number), keyspace.VERSION]
        redis_client.call("note_hosts", keys, [*here, number, redis_client.bell(), *tags_of_range])


def write(here: Life, old_keys_up_to: int, tags: Iterable[tuple[int, bytes]]) -> None:
    """Write whose board this is and all its hosts, which come in order of their numbers. Gateways look at the end."""
    client = redis_client.client()
    stale = {int(number) for number in client.hkeys(keyspace.HOSTS)}
    version = client.incr(keyspace.VERSION)
    for number, packed in _ranges(tags):
        client.pipeline().set(keyspace.hosts_key(number), packed).hset(keyspace.HOSTS, str(number), version).execute()
        stale.discard(number)
    pipe = client.pipeline()
    for number in stale:
        pipe.unlink(keyspace.hosts_key(number)).hdel(keyspace.HOSTS, str(number))
    pipe.hset(keyspace.INSTALLATION, mapping={**here._asdict(), "old_keys_up_to": old_keys_up_to})
    pipe.incr(keyspace.VERSION).publish(redis_client.bell(), "hosts").execute()


def _ranges(tags: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for number, hosts in groupby(tags, key=lambda pair: keyspace.seat_of(pair[0]).number):
        packed = bytearray()
        for host, tag in hosts:
            packed += bytes(keyspace.seat_of(host).bit * TAG_BYTES - len(packed)) + tag
        yield number, bytes(packed)


def highest() -> int:
    """Give the highest number of a host that the board knows, 0 when it knows none."""
    numbers = [int(number) for number in redis_client.client().hkeys(keyspace.HOSTS)]
    if not numbers:
        return 0
    size = int(redis_client.client().strlen(keyspace.hosts_key(max(numbers))))
    return max(numbers) * keyspace.RANGE_SIZE + max(0, size // TAG_BYTES - 1)


def leapt() -> int:
    """Give the number of a campaign to which the last loss or restore leapt, 0 when there was none."""
    return int(redis_client.client().hget(keyspace.INSTALLATION, "leapt") or 0)


def note_leap(campaign: int) -> None:
    """Remember to which number was leapt: the same backup may be restored twice."""
    redis_client.client().hset(keyspace.INSTALLATION, "leapt", campaign)


def forget_another_life() -> None:
    """Drop what gateways told of hosts that have the same numbers in another life of the database."""
    redis_client.client().delete(*STRANGE_KEYS)
