"""Serve `distributed/read`: hand out work, or hold the read until there is some, and undo what reached nobody."""

import asyncio
import logging
import random
import time
from collections import Counter
from typing import NamedTuple

from redis.exceptions import RedisError

from agents.board.copy import Board
from agents.board.gateway_verbs import Claim, Store
from agents.board.keyspace import NoBoardError
from agents.gateway.asgi_types import Receive
from agents.gateway.held_reads import Hold, Waiter
from agents.protocol import messages
from agents.protocol.node_key import Identity
from fleet.metrics import note_error

logger = logging.getLogger(__name__)

SHORTEST_HOLD = 0.8  # of HOLD_SECONDS; the rest is random, so that agents do not march in step


class Handout(NamedTuple):
    """An answer with work in it, which can be given back as long as it has not left."""

    body: bytes
    host: int
    claim: Claim


class RevokedError(Exception):
    """The host was revoked, or the database lost it, while its read was held."""


class Reads:
    """The reads of one gateway: `queries_per_read` live ones each, none while the stream has `backlog` bytes."""

    def __init__(
        self,
        store: Store,
        board: Board,
        hold: Hold,
        counts: Counter[str],
        hold_seconds: float,
        queries_per_read: int,
        backlog: int,
    ) -> None:
        self._store, self._board, self._hold, self._counts = store, board, hold, counts
        self._hold_seconds, self._most, self._backlog = hold_seconds, queries_per_read, backlog

    async def serve(self, identity: Identity, receive: Receive) -> bytes | Handout | None:
        """Hand out work, or hold the read until there is some. None = the client left, nobody to answer.

        Raise RevokedError.
        """
        began, host = time.monotonic(), identity.host
        holds = bool(self._hold_seconds) and not self._hold.is_full
        if not holds and not self._board.has_work(host):
            return messages.NOTHING
        waiter = self._hold.enter(host) if holds else Waiter()
        watch = asyncio.ensure_future(gone(receive))
        watch.add_done_callback(lambda _: waiter.desert())
        try:
            answer = await (self._held(identity, began, waiter) if holds else self._at_once(identity, began))
            if isinstance(answer, Handout):
                await asyncio.sleep(0)  # a client that left in this very moment has its turn to be noticed
                if waiter.deserted or watch.done():
                    await self.give_back(answer)
                    answer = messages.NOTHING
            return None if watch.done() else answer
        finally:
            watch.cancel()
            self._hold.leave(host, waiter)

    async def _at_once(self, identity: Identity, began: float) -> bytes | Handout:
        answer, _ = await self._offer(identity, began)
        return answer or messages.NOTHING

    async def _held(self, identity: Identity, began: float, waiter: Waiter) -> bytes | Handout:
        ends = began + self._hold_seconds * random.uniform(SHORTEST_HOLD, 1)  # noqa: S311 - a spread
        while True:
            answer, again_in = await self._offer(identity, began)
            left = ends - time.monotonic()
            if answer is not None or left <= 0 or waiter.released:
                return answer or messages.NOTHING
            await waiter.wait(left if again_in is None else min(left, again_in))
            if waiter.released:
                return messages.NOTHING

    async def _offer(self, identity: Identity, began: float) -> tuple[bytes | Handout | None, float | None]:
        """Look at the host's bit; give what to answer now, else None and when it is worth looking again."""
        host = identity.host
        if self._board.has_revoked(host, identity.epoch) or self._board.is_stranger(identity):
            raise RevokedError
        if not self._board.has_work(host) or self._store.backlog > self._backlog:
            return None, None
        generation = self._board.generation
        campaigns = self._board.campaigns_for(host)
        claim = await self._store.claim(host, campaigns, time.monotonic() - began, self._most)
        self._board.clear(host, claim.never, generation)
        if claim.work:
            self._counts["deliveries"] += len(claim.work)
            return Handout(messages.work(claim.work, claim.accelerate), host, claim), None
        return (messages.NOTHING, None) if claim.at_once else (None, claim.again_in)

    async def give_back(self, handout: Handout) -> None:
        """Undo deliveries that reached nobody, so that the host's next read gets them. Housekeeping comes round anyway.

        When that cannot be done, the SQL is offered again after the next reads, as if the answer had been lost.
        """
        if not handout.claim.traces:
            return
        try:
            self._counts["given back"] += await self._store.give_back(handout.host, handout.claim.traces)
        except (NoBoardError, RedisError, OSError) as error:
            note_error(error)
            logger.warning("deliveries not given back host=%s reason=%s", handout.host, error)
        self._hold.wake_host(handout.host)


async def gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
