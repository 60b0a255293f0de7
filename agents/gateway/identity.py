"""Whether a key belongs to one machine: clones share keys, and then one host's answers come from two machines.

A gateway notices, without I/O, two machines that take turns with one key. That an older key is used after a newer one
is noticed by `mark_reads`, which hears of all gateways.
"""

import time
from collections import Counter
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

    def enter(self, identity: Identity, address: str, verb: str) -> None:
        """Keep a request's address in mind until `leave`: on the hot path, so no context manager."""
        if identity.secret:
            self._old_secrets[identity.secret] += 1
        if identity.enrolled == OLD_FORM:
            self._old_secrets[keyspace.OLD_FORM_FIELD] += 1
        if verb not in DISTRIBUTED:
            return
        under_way = self._under_way.get(identity.host)
        if under_way is None:
            self._under_way[identity.host] = [address]
            return
        for other in {*under_way} - {address}:
            self._meet(identity.host, other, address)
        under_way.append(address)

    def leave(self, identity: Identity, address: str, verb: str) -> None:
        """Forget a request that was answered, or given up."""
        if verb not in DISTRIBUTED:
            return
        under_way = self._under_way[identity.host]
        if len(under_way) == 1:
            del self._under_way[identity.host]
        else:
            under_way.remove(address)

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
        is_told = False
        try:
            await store.tell_doubts(doubts, old, strangers)
            is_told = True
        finally:
            if not is_told:
                self._doubts = {**doubts, **self._doubts}
                self._old_secrets.update(old)
                self._strangers += strangers
