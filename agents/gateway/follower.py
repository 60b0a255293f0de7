"""Keep one gateway's copy of the board fresh, wake who has work now, and tell the others who asked here.

Runs beside the requests, once a second and whenever the bell rings; an outage of Redis is waited out.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from redis.exceptions import RedisError

from agents.board.copy import Board, Place
from agents.board.gateway_verbs import COALESCE_SECONDS, LOOK_SECONDS, Store, Used
from agents.board.keyspace import NoBoardError
from agents.gateway.held_reads import Hold
from agents.gateway.identity import Identities
from agents.protocol.node_key import Identity
from fleet.cancelling import end
from fleet.metrics import note_error

logger = logging.getLogger(__name__)

KINDS = {"distributed/read": "r", "distributed/write": "w"}  # uses of a key that are told apart
AGAIN_SECONDS = 3.0  # longest wait for a look at the board; agents wait 16
FAREWELL_SECONDS = 1.0  # for the last words to Redis
CROWDED = 0.8  # of the reads that all gateways can hold; above it agents are told to come less often


class Follower:
    """Follows the board for one gateway. Needs the running loop."""

    def __init__(self, store: Store, board: Board, hold: Hold, identities: Identities, max_held_reads: int) -> None:
        self._store, self._board, self._hold, self._identities = store, board, hold, identities
        self._max_held_reads = max_held_reads
        self._asked: dict[Used, float] = {}  # -> when
        self._tasks: list[asyncio.Task[None]] = []
        self.is_crowded = False  # of all gateways together
        self._rung = asyncio.Event()
        self._begun = self._done = 0  # looks at the board
        self._looked = asyncio.Event()

    async def start(self) -> None:
        """Begin to follow; Redis may still be away."""
        with suppress(RedisError, OSError):  # then whoever asks hears `{"error"}` until the board was seen
            await self._refresh()
        self._tasks = [
            asyncio.create_task(self._store.listen(self._rung)),
            asyncio.create_task(self._follow(self._rung)),
        ]

    async def stop(self) -> None:
        """Follow no more; tell who asked last, and that nothing more is to be waited for from here."""
        await end(self._tasks)
        with suppress(RedisError, OSError, TimeoutError):  # then it is waited for as for one that was killed
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._tell_reads()
                await self._store.leave()

    def note_use(self, identity: Identity, verb: str, address: str = "") -> None:
        """Remember that a key was used just now, to be told with the next look."""
        self._asked[Used(identity.host, identity.epoch, KINDS.get(verb, ""), address)] = time.monotonic()

    async def look_again(self) -> None:
        """Return when a look at the board that began from now on is done. Whoever asks meanwhile shares it.

        Raise NoBoardError when there is no whole board to be seen.
        """
        wanted = self._begun + 1
        self._rung.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                while self._done < wanted:
                    await self._looked.wait()
        if self._done < wanted or self._board.epoch is None:
            raise NoBoardError

    async def _follow(self, rung: asyncio.Event) -> None:
        """Refresh the copy when rung, coalesced, and every second; tell who asked as often."""
        away = False
        while True:
            try:
                await self._refresh()
                await self._tell_reads()
                away = False
            except (RedisError, OSError) as error:
                note_error(error)
                if not away:
                    logger.warning("board out of reach reason=%s", error)
                away = True
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # not wait_for: Python 3.11's can swallow a cancellation
                    await rung.wait()
                await asyncio.sleep(COALESCE_SECONDS)
            rung.clear()

    async def _refresh(self) -> None:
        """Bring the copy up to date; wake who has work now, and who was revoked."""
        self._begun += 1
        floors, epoch, before = self._board.floors, self._board.epoch, self._board.versions
        self._hold.wake(await self._store.refresh())
        _tell_of_campaigns(before, self._board.versions)
        if self._board.epoch not in (epoch, None):
            self._hold.wake_all()  # the database may be another one, without them
        self._done, looked, self._looked = self._begun, self._looked, asyncio.Event()
        looked.set()
        for host, _ in self._board.floors.items() - floors.items():
            self._hold.wake_host(host)

    async def _tell_reads(self) -> None:
        now = time.monotonic()
        asked, self._asked = self._asked, {}
        try:
            await self._store.tell_reads({key: now - when for key, when in asked.items()})
        except (RedisError, OSError):
            self._asked = {**asked, **self._asked}
            raise
        held = await self._store.tell_held(len(self._hold), self._max_held_reads)
        self.is_crowded = held.reads > CROWDED * held.limit
        await self._identities.tell(self._store)


def _tell_of_campaigns(before: Mapping[Place, bytes], after: Mapping[Place, bytes]) -> None:
    """Log which campaigns this gateway begins and ceases to offer: each can be followed through all processes."""
    if before.keys() == after.keys():
        return
    old, new = ({campaign for campaign, _ in places if campaign > 0} for places in (before, after))
    for campaign in sorted(new - old):
        logger.info("campaign offered campaign=%s", campaign)
    for campaign in sorted(old - new):
        logger.info("campaign offered no more campaign=%s", campaign)
