"""Whether a key belongs to one machine: clones share keys, and then one host's answers come from two machines.

A gateway notices, without I/O, two machines that take turns with one key. That an older key is used after a newer one
is noticed by `mark_reads`, which hears of all gateways.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agents.board import keyspace
from agents.protocol.node_key import OLD_FORM, Identity

if TYPE_CHECKING:
    from agents.board.gateway_verbs import Store

TWO_ADDRESSES = "its key was used from two addresses at once"
DISTRIBUTED = ("distributed/read", "distributed/write")  # of these an agent makes one at a time
REMEMBERED_SECONDS = 60.0  # within which two machines meet the other way round too


class Identities:
    """Who is being answered now, and what is to be told of it: doubts, and keys made with an old secret."""

    def __init__(self) -> None:
        self._under_way: dict[int, list[str]] = {}
        self._met: dict[int, dict[tuple[str, str], float]] = {}  # host -> (address that waited, that came) -> when
        self._doubts: dict[int, str] = {}
        self._old_secrets: Counter[int] = Counter()
        self._strangers = 0

    def note_stranger(self) -> None:
        """Count a request whose key speaks for no host of this database."""
        self._strangers += 1

    @contextmanager
    def seen(self, identity: Identity, address: str, verb: str) -> Iterator[None]:
        """Keep a request's address in mind while it is answered."""
        if identity.secret:
            self._old_secrets[identity.secret] += 1
        if identity.enrolled == OLD_FORM:
            self._old_secrets[keyspace.OLD_FORM_FIELD] += 1
        if verb not in DISTRIBUTED:
            yield
            return
        under_way = self._under_way.setdefault(identity.host, [])
        for other in {*under_way} - {address}:
            self._meet(identity.host, other, address)
        under_way.append(address)
        try:
            yield
        finally:
            under_way.remove(address)
            if not under_way:
                self._under_way.pop(identity.host, None)

    def _meet(self, host: int, waiting: str, came: str) -> None:
        """Doubt a host when both of two addresses came while the other's request was under way.

        Once alone it is a machine that moved: its request from the old address waits here, dead, for a while.
        """
        met = self._met.setdefault(host, {})
        met[waiting, came] = time.monotonic()
        if (came, waiting) in met:
            self._doubts[host] = f"{TWO_ADDRESSES}: {waiting} and {came}"

    def _forget(self) -> None:
        since = time.monotonic() - REMEMBERED_SECONDS
        for host, met in list(self._met.items()):
            if max(met.values()) < since:
                del self._met[host]

    async def tell(self, store: "Store") -> None:
        """Tell the board. What could not be told is told again, and RedisError raised."""
        self._forget()
        doubts, old, strangers = self._doubts, self._old_secrets, self._strangers
        self._doubts, self._old_secrets, self._strangers = {}, Counter(), 0
        told = False
        try:
            await store.tell_doubts(doubts, old, strangers)
            told = True
        finally:
            if not told:
                self._doubts = {**doubts, **self._doubts}
                self._old_secrets.update(old)
                self._strangers += strangers
