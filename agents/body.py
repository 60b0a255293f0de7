"""Read what an agent sends, within bounds: bodies are unbounded on their side (a `SELECT *` of everything)."""

import zlib

from agents.asgi_types import Receive

SMALL_BODY_BYTES = 2**20


class BodyRefusedError(Exception):
    """The body cannot be read now or ever; the sentence says which and goes to the agent as its error."""


class ClientGoneError(Exception):
    """The agent closed the connection before its request was complete: nobody is there to answer."""


class Budget:
    """Memory shared by the bodies above 1 MiB. The first is always let in; others come again when it is spent."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def take(self, size: int) -> None:
        """Reserve `size` bytes. Raise BodyRefusedError when others hold the budget."""
        if self._taken and self._taken + size > self._limit:
            raise BodyRefusedError("too many large answers at once, come again")
        self._taken += size

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._taken -= size


class Body:
    """One request's body; a context manager, because a large one holds a share of the budget while it is used."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget, self._limit = budget, limit
        self._held = 0

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._held)

    async def read(self, receive: Receive, encoding: bytes) -> bytes:
        """Give the whole body, unpacked. Raise BodyRefusedError or ClientGoneError."""
        body, more = await _next(receive)
        if more:
            chunks, size = [body], len(body)
            while more:
                body, more = await _next(receive)
                size += len(body)
                self._hold(size)
                chunks.append(body)
            body = b"".join(chunks)
        return self._unpacked(body) if encoding.lower() == b"gzip" else body

    def _hold(self, size: int) -> None:
        if size > self._limit:
            raise BodyRefusedError(f"the body is larger than {self._limit} bytes")
        if size > SMALL_BODY_BYTES and size > self._held:
            # In steps of a megabyte, so that the sum over a slow upload stays small.
            step = size - self._held + SMALL_BODY_BYTES
            self._budget.take(step)
            self._held += step

    def _unpacked(self, body: bytes) -> bytes:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            unpacked = unpacker.decompress(body, self._limit)
        except zlib.error as error:
            raise BodyRefusedError(f"the body is not gzip: {error}") from error
        if unpacker.unconsumed_tail:
            raise BodyRefusedError(f"the body is larger than {self._limit} bytes")
        return unpacked


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), message.get("more_body", False)
