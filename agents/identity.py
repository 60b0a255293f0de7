"""Whether a key belongs to one machine: clones share keys, and then one host's answers come from two machines.

A gateway notices, without I/O, two requests at once with one key from two addresses. That an older key is used after a
newer one is noticed by `mark_reads`, which hears of all gateways.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agents.node_key import Identity

if TYPE_CHECKING:
    from agents.distributed import Store

TWO_ADDRESSES = "its key was used from two addresses at once"


class Identities:
    """Who is being answered now, and what is to be told of it: doubts, and keys made with an old secret."""

    def __init__(self) -> None:
        self._under_way: dict[int, list[str]] = {}
        self._doubts: dict[int, str] = {}
        self._old_secrets: Counter[int] = Counter()

    @contextmanager
    def seen(self, identity: Identity, address: str) -> Iterator[None]:
        """Keep a request's address in mind while it is answered."""
        if identity.secret:
            self._old_secrets[identity.secret] += 1
        under_way = self._under_way.setdefault(identity.host, [])
        if under_way and any(other != address for other in under_way):
            self._doubts[identity.host] = f"{TWO_ADDRESSES}: {under_way[-1]} and {address}"
        under_way.append(address)
        try:
            yield
        finally:
            under_way.remove(address)
            if not under_way:
                self._under_way.pop(identity.host, None)

    async def tell(self, store: "Store") -> None:
        """Tell the board. What could not be told is told again, and RedisError raised."""
        doubts, old = self._doubts, self._old_secrets
        self._doubts, self._old_secrets = {}, Counter()
        told = False
        try:
            await store.tell_doubts(doubts, old)
            told = True
        finally:
            if not told:
                self._doubts = {**doubts, **self._doubts}
                self._old_secrets.update(old)
