"""Read what an agent sends, within bounds: bodies are unbounded on their side (a `SELECT *` of everything).

A body is always read to its end, since an agent that is answered before it has sent everything takes that for a broken
connection and sends all of it again.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from agents.gateway.asgi_types import Receive

SMALL_BODY_BYTES = 2**20
PIECE_BYTES = 2**15  # looked at without letting others have their turn
ARRIVAL_SECONDS = 60  # an agent gives up after 16
GZIP = b"\x1f\x8b"  # how gzip begins and JSON cannot: no header is needed to tell them apart


class BodyRefusedError(Exception):
    """The body cannot be read now; the sentence says why and goes to the agent as its error."""


class ClientGoneError(Exception):
    """The agent closed the connection before its request was complete, or sent what is no body: nobody may be there."""


class Keeper(Protocol):
    """What a large body is poured into."""

    @property
    def held(self) -> int:
        """Give the bytes held in memory."""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""

    def drop(self) -> None:
        """Let go of everything, and take no more."""

    def content(self) -> bytes | bytearray:
        """Give what is kept of the body."""


class Whole:
    """Keeps a body up to a limit, and nothing of one above it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._content = bytearray()

    @property
    def held(self) -> int:
        """Give the bytes held in memory."""
        return len(self._content)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        if len(self._content) + len(piece) > self._limit:
            self.drop()
        self._content += piece[: self._limit]

    def drop(self) -> None:
        """Let go of everything, and take no more."""
        self._limit = 0
        self._content.clear()

    def content(self) -> bytearray:
        """Give the body; empty when it was too large."""
        return self._content


class Budget:
    """Memory shared by the bodies above 1 MiB. The first is always let in; others come again when it is spent."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def take(self, size: int, held: int) -> None:
        """Reserve `size` bytes more for a body that holds `held`. Raise BodyRefusedError when others hold the rest."""
        if self._taken > held and self._taken + size > self._limit:
            raise BodyRefusedError("too many large bodies at once, come again")
        self._taken += size

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._taken -= size


class Arrivals:
    """Gives up on bodies that do not arrive; one timer for all, since one for each would cost every check-in."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[Any], float] = {}  # oldest first
        self._overdue: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "asyncio.Task[Any]":
        """Begin to wait for a body in the task that runs; give it."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("bodies are read in tasks alone")
        due = self._due[task] = loop.time() + ARRIVAL_SECONDS
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)
        return task

    def end(self, task: "asyncio.Task[Any]") -> bool:
        """Wait no more; say whether it was this that cancelled the task, and nobody else."""
        self._due.pop(task, None)
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        return task.uncancel() == 0

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, due in list(self._due.items()):
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self._due[task]
            self._overdue.add(task)
            task.cancel()


class Body:
    """One request's body; a context manager, because a large one holds a share of the budget while it is used."""

    def __init__(self, budget: Budget, arrivals: Arrivals, small: int, limit: int) -> None:
        self._budget, self._arrivals, self._small, self._limit = budget, arrivals, small, limit
        self._held = 0
        self.arrived = 0  # bytes

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._budget.give_back(self._held)

    async def read(self, receive: Receive, make_keeper: Callable[[], Keeper]) -> bytes | bytearray:
        """Give the body, unpacked: a small one as it is, another as a keeper keeps it; empty when that is not possible.

        Raise BodyRefusedError or ClientGoneError.
        """
        task = self._arrivals.begin()
        try:
            body, more = await self._next(receive)
            if not more and len(body) <= self._small and not body.startswith(GZIP):
                return body
            return await self._read_on(body, more, receive, make_keeper)
        except asyncio.CancelledError:
            if self._arrivals.end(task):
                raise BodyRefusedError(f"the body did not arrive within {ARRIVAL_SECONDS} seconds") from None
            raise
        finally:
            self._arrivals.end(task)

    async def _read_on(
        self, body: bytes, more: bool, receive: Receive, make_keeper: Callable[[], Keeper]
    ) -> bytes | bytearray:
        begin = [body]
        size = len(body)
        while more and size <= self._small:
            body, more = await self._next(receive)
            begin.append(body)
            size += len(body)
        body = b"".join(begin)
        del begin
        if size <= self._small and not body.startswith(GZIP):
            return body
        return await self._pour(_Unpacker(body, self._limit), body, more, receive, make_keeper())

    async def _pour(
        self, unpacker: "_Unpacker", body: bytes, more: bool, receive: Receive, keeper: Keeper
    ) -> bytes | bytearray:
        refusal: BodyRefusedError | None = None
        while True:
            for piece in unpacker.pieces(body) if refusal is None else ():
                keeper.feed(piece)
                try:
                    self._hold(keeper.held)
                except BodyRefusedError as error:
                    refusal = error
                    keeper.drop()
                    break
                await asyncio.sleep(0)
            if not more:
                break
            body, more = await self._next(receive)
        if refusal is not None:
            raise refusal
        return b"" if unpacker.failed else keeper.content()

    async def _next(self, receive: Receive) -> tuple[bytes, bool]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the body broke off before its end, or is not what HTTP allows")
        body: bytes = message.get("body", b"")
        self.arrived += len(body)
        return body, message.get("more_body", False)

    def _hold(self, size: int) -> None:
        if size > SMALL_BODY_BYTES and size > self._held:
            # In steps of a megabyte, so that the sum over a slow upload stays small.
            step = size - self._held + SMALL_BODY_BYTES
            self._budget.take(step, self._held)
            self._held += step


class _Unpacker:
    """Unpacks gzip, up to a limit; anything else is given as it is."""

    def __init__(self, begin: bytes, limit: int) -> None:
        self._gzip = zlib.decompressobj(wbits=31) if begin.startswith(GZIP) else None
        self._left = limit
        self.failed = False  # it is no gzip after all, or unpacks to more than the limit

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """Give the next of the body's bytes, in pieces of a bounded size."""
        if self._gzip is None:
            yield from (packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES))
            return
        while packed and not self.failed:
            try:
                piece = self._gzip.decompress(packed, PIECE_BYTES)
            except zlib.error:
                self.failed = True
                return
            self._left -= len(piece)
            self.failed = self._left < 0
            packed = self._gzip.unconsumed_tail
            if self._gzip.eof:  # another member may follow; what else does is left out
                packed = self._gzip.unused_data
                packed = packed if packed.startswith(GZIP[:1]) else b""
                self._gzip = zlib.decompressobj(wbits=31)
            yield piece
