"""Whom too many wrong passwords or codes keep out, where, until when; and how that ends before its time.

The counts lie in Redis under digests of names, so that what strangers type is not kept there. A digest is told apart by
the accounts there are; of one that is nobody's only its address is known.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import User

from agents.board import keyspace, redis_client
from fleet import audit
from fleet.addresses import network_of

PAIR, NAME, ADDRESS = "pair", "name", "address"
SECOND_FACTOR = " second factor"  # behind a name: its codes are counted apart from its passwords
UNKNOWN = "?"  # a name that no account has


class Lock(NamedTuple):
    """One lock: of a name at an address, of a name, or of an address; "" = of every one. It ends after `seconds`."""

    key: str
    name: str
    address: str
    seconds: int


def limits() -> dict[str, int]:
    """Give how many wrong ones begin a lock, by its kind."""
    return {
        PAIR: settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS,
        NAME: settings.WRONG_PASSWORDS_OF_NAME,
        ADDRESS: settings.WRONG_PASSWORDS_OF_ADDRESS,
    }


def digest_of(name: str) -> str:
    """Give what stands for a name; its case does not matter."""
    return sha256(name.casefold().encode(errors="replace")).hexdigest()[:32]


def keys_of(name: str, address: str) -> dict[str, str]:
    """Name the counts of a name at an address, by their kind."""
    who, where = digest_of(name), network_of(address)
    return {
        PAIR: keyspace.sign_in_key(PAIR, who, where),
        NAME: keyspace.sign_in_key(NAME, who),
        ADDRESS: keyspace.sign_in_key(ADDRESS, where),
    }


def seconds_left(key: str) -> int:
    """Give how long a count still lives, at least a second."""
    return max(1, cast(int, redis_client.client().ttl(key)))


def locks() -> list[Lock]:
    """Give all that hold now, those that end last first. Raise RedisError, OSError."""
    return sorted(_held(), key=lambda lock: (-lock.seconds, lock.name, lock.address))


def _held() -> Iterator[Lock]:
    client, names = redis_client.client(), _names()
    for kind, limit in limits().items():
        keys = [key.decode() for key in client.scan_iter(match=keyspace.sign_in_key(kind, "*"), count=1_000)]
        counts = cast(list[bytes | None], client.mget(keys)) if keys else []
        for key, count in zip(keys, counts, strict=True):
            if int(count or 0) >= limit:
                yield _lock(key, kind, names)


def _names() -> dict[str, str]:
    known = User.objects.order_by("pk").values_list("username", flat=True)
    return {digest_of(counted): counted for name in known for counted in (name, name + SECOND_FACTOR)}


def _lock(key: str, kind: str, names: dict[str, str]) -> Lock:
    _, _, rest = key.split(":", 2)
    who, _, where = rest.partition(":") if kind != ADDRESS else ("", "", rest)
    return Lock(key, names.get(who, UNKNOWN) if who else "", where, seconds_left(key))


def lift_of_name(name: str) -> list[Lock]:
    """End every lock of a name, of its second factor too, whether an account has it or not; give which."""
    digests = {digest_of(name), digest_of(name + SECOND_FACTOR)}
    return _lift([lock for lock in locks() if digests & set(lock.key.split(":"))], name=name)


def lift_of_second_factor(name: str) -> list[Lock]:
    """End what wrong codes of a name began, at every address; give which."""
    digest = digest_of(name + SECOND_FACTOR)
    return _lift([lock for lock in locks() if digest in lock.key.split(":")], name=name)


def lift_of_address(address: str) -> list[Lock]:
    """End the lock of an address, or of the IPv6 network it lies in; give which."""
    where = network_of(address)
    return _lift([lock for lock in locks() if not lock.name and lock.address == where], address=where)


def _lift(lifted: list[Lock], **whose: Any) -> list[Lock]:
    if lifted:
        redis_client.client().delete(*(lock.key for lock in lifted))
        what = [lock.key.split(":")[1] for lock in lifted]
        audit.note("sign_in.unlocked", subject=_subject(**whose), what=what, **whose)
    return lifted


def _subject(name: str = "", address: str = "") -> str:
    person = User.objects.filter(username__iexact=name).first() if name else None
    return f"person {person.pk}" if person is not None else f"name {name}" if name else f"address {address}"
