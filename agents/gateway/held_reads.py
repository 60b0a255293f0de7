"""Held reads: an idle `distributed/read` waits here until its host gets work or its time is up.

osqueryd waits 16 s at most, then sleeps its interval; held 8 to 10 s with an interval of 2, four hosts in five are
listening at any moment, at the connections per hour of plain 10-second polling.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

from agents.board.bitmaps import has_host
from fleet.cancelling import end

WAKE_EVERY_SECONDS = 0.02
RELEASE_SECONDS = 0.8  # over which all are let go when the server stops


class Waiter:
    """One held read. A wake that comes while nobody waits is kept for the next wait."""

    __slots__ = ("_future", "_rung", "deserted", "released")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._rung = False
        self.released = False  # to be answered at once: the server stops, or it is deserted
        self.deserted = False  # nobody waits for its answer: the client left, or a newer read took over

    def wake(self) -> None:
        """Make the read look at its bit again."""
        self._rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def release(self) -> None:
        """End the read."""
        self.released = True
        self.wake()

    def desert(self) -> None:
        """End the read; what it was handed meanwhile reaches nobody."""
        self.deserted = True
        self.release()

    async def wait(self, seconds: float) -> None:
        """Return when woken, or after `seconds`."""
        loop = asyncio.get_running_loop()
        if not self._rung:
            self._future = loop.create_future()
            timer = loop.call_later(seconds, self.wake)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        self._rung = False


class Hold:
    """The held reads of this process, one for each host, and the pace at which they are woken."""

    def __init__(self, max_reads: int, wake_per_second: int) -> None:
        self._most = max_reads
        self._step = max(1, round(wake_per_second * WAKE_EVERY_SECONDS))
        self._waiters: dict[int, Waiter] = {}
        self._due: deque[int] = deque()
        self._queued: set[int] = set()  # the same hosts, each once
        self._pacer: asyncio.Task[None] | None = None
        self.closing = False

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Say whether further idle reads have to be answered at once."""
        return self.closing or len(self._waiters) >= self._most

    def enter(self, host: int) -> Waiter:
        """Register a read, before its bit is looked at; an older one of the same host is let go."""
        older = self._waiters.get(host)
        if older is not None:
            older.desert()
        waiter = self._waiters[host] = Waiter()
        return waiter

    def wake_host(self, host: int) -> None:
        """Wake the held read of one host, if there is one."""
        if host in self._waiters:
            self._waiters[host].wake()

    def wake_all(self) -> None:
        """Wake every held read: whoever has nothing new waits on."""
        for waiter in self._waiters.values():
            waiter.wake()

    def leave(self, host: int, waiter: Waiter) -> None:
        """Take the read off; a newer one of the same host stays."""
        if self._waiters.get(host) is waiter:
            del self._waiters[host]

    def wake(self, fresh: Mapping[int, bytes]) -> None:
        """Wake, at the pace, the held reads of hosts whose bit is set in these bitmaps of ranges."""
        due = [host for host in self._waiters if has_host(fresh, host) and host not in self._queued]
        self._due.extend(due)
        self._queued.update(due)
        if self._due and self._pacer is None:
            self._pacer = asyncio.create_task(self._wake_due())

    async def _wake_due(self) -> None:
        try:
            while self._due:
                for _ in range(min(self._step, len(self._due))):
                    host = self._due.popleft()
                    self._queued.discard(host)
                    self.wake_host(host)
                await asyncio.sleep(WAKE_EVERY_SECONDS)
        finally:
            self._pacer = None

    async def close(self) -> None:
        """Let every held read end with its empty answer within a second, spread, and hold no more."""
        self.closing = True
        waiters = list(self._waiters.values())
        steps = max(1, round(RELEASE_SECONDS / WAKE_EVERY_SECONDS))
        share = -(-len(waiters) // steps) or 1
        for start in range(0, len(waiters), share):
            for waiter in waiters[start : start + share]:
                waiter.release()
            await asyncio.sleep(WAKE_EVERY_SECONDS)
        if self._pacer is not None:
            await end([self._pacer])
