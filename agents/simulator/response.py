"""Read one HTTP response as osquery's client does: Content-Length, chunked, or up to the end of the TLS stream.

Never looks at the status, except that an interim answer (1xx) is taken for the final one and a redirect for a failure.
"""

from collections.abc import Generator
from typing import NamedTuple

MOST_HEAD = 8192
MOST_BODY = 8 * 1024 * 1024
_REDIRECTS = frozenset({301, 302, 303, 304, 305, 307, 308})


class BrokenError(Exception):
    """The connection or the answer broke before it was complete."""


class Response(NamedTuple):
    """A complete answer. `closes` is true only for `Connection: close`, spelt exactly so."""

    status: int
    body: bytes
    closes: bool


class ResponseReader:
    """Takes the bytes as they come; `response` is set once the answer is complete."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self._buffer = bytearray()
        self._ended = False
        self._steps = self._read()
        next(self._steps)

    def feed(self, data: bytes) -> None:
        """Take more bytes. Raise BrokenError when they cannot be an answer."""
        self._buffer += data
        self._advance()

    def end(self) -> None:
        """Note the orderly end of the stream. Raise BrokenError when the answer is not complete then."""
        self._ended = True
        self._advance()
        if self.response is None:
            raise BrokenError("end of stream")

    def _advance(self) -> None:
        if self.response is None:
            try:
                next(self._steps)
            except StopIteration as done:
                self.response = done.value

    def _read(self) -> Generator[None, None, Response]:
        yield
        head = (yield from self._until(b"\r\n\r\n", MOST_HEAD)).decode("latin-1").split("\r\n")
        status, headers = _status(head[0]), _headers(head[1:])
        if status in _REDIRECTS:
            raise BrokenError(f"redirect {status} is not followed")
        body = b""
        if status >= 200 and status != 204:
            body = yield from self._body(headers)
        return Response(status, body, headers.get("connection") == "close")

    def _body(self, headers: dict[str, str]) -> Generator[None, None, bytes]:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return (yield from self._chunks())
        length = headers.get("content-length")
        if length is None:
            return (yield from self._rest())
        if not length.isdecimal():
            raise BrokenError(f"bad content length {length[:40]!r}")
        return (yield from self._exactly(int(length)))

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while size := _chunk_size((yield from self._until(b"\r\n", MOST_HEAD))):
            body += yield from self._exactly(size)
            _limit(len(body))
            if (yield from self._until(b"\r\n", 2)):
                raise BrokenError("bad chunk")
        while (yield from self._until(b"\r\n", MOST_HEAD)):  # trailers, ended by an empty line
            pass
        return bytes(body)

    def _rest(self) -> Generator[None, None, bytes]:
        while not self._ended:
            _limit(len(self._buffer))
            yield
        _limit(len(self._buffer))
        return bytes(self._buffer)

    def _until(self, mark: bytes, limit: int) -> Generator[None, None, bytes]:
        """Take what comes before the mark, and the mark; at most `limit` bytes with it."""
        while (at := self._buffer.find(mark, 0, limit)) < 0:
            if len(self._buffer) >= limit:
                raise BrokenError("header limit exceeded")
            yield
        taken = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return taken

    def _exactly(self, count: int) -> Generator[None, None, bytes]:
        _limit(count)
        while len(self._buffer) < count:
            yield
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _limit(size: int) -> None:
    if size > MOST_BODY:
        raise BrokenError("body limit exceeded")


def _status(line: str) -> int:
    words = line.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or len(words[1]) != 3 or not words[1].isdecimal():
        raise BrokenError(f"bad status line {line[:40]!r}")
    return int(words[1])


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise BrokenError(f"bad chunk size {digits[:20]!r}") from None
