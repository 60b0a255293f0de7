"""One post over HTTP that ends when its time is over, however slowly the other side drips; never redirected.

Its time holds for looking up the name, connecting, writing and reading together. Of the answer only the beginning is
read, and its status counts once it is there. Proxies of the environment are not used.
"""

import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore
import httpx

from fleet.lookups import LookUp, look_up

MOST_ANSWER_BYTES = 4_096
MOST_PLACE = 500  # characters of where a redirect leads
PIECE_BYTES = 16_384  # written at once: within a piece the time is not looked at
FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError, UnicodeError)
TIMEOUTS = (httpcore.TimeoutException, TimeoutError)


def post(
    url: httpx.URL, body: bytes, headers: dict[str, str], seconds: float, addresses: LookUp = look_up
) -> tuple[int, str]:
    """Send it to an address that `addresses` gives; give the status and how the answer begins. Raise FAILURES."""
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    sent = {"host": url.netloc.decode("ascii"), "accept-encoding": "identity", "connection": "close", **headers}
    backend = _Within(time.monotonic() + seconds, addresses)
    trust = ssl.create_default_context() if url.scheme == "https" else None  # to read whom to trust takes 40 ms
    with (
        httpcore.ConnectionPool(ssl_context=trust, network_backend=backend) as pool,
        pool.stream("POST", target, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}) as told,
    ):
        answer = _beginning(told.iter_stream())
        leads_to = next((value for name, value in told.headers if name.lower() == b"location"), b"")
        if 300 <= told.status < 400 and leads_to:
            place = leads_to.decode("utf-8", "replace")[:MOST_PLACE]
            answer = f"it redirects to {place}, and redirects are not followed. {answer}".strip()
        return told.status, answer


def _beginning(pieces: Iterable[bytes]) -> str:
    """Read how the answer begins. The status was said before: that the rest is cut off or late takes nothing of it."""
    read = b""
    with suppress(*FAILURES):
        for piece in pieces:
            read += piece
            if len(read) >= MOST_ANSWER_BYTES:
                break
    return read[:MOST_ANSWER_BYTES].decode("utf-8", "replace")


class _Within(httpcore.NetworkBackend):
    """Connections to addresses that were looked up, none of which outlasts its time."""

    def __init__(self, until: float, addresses: LookUp) -> None:
        self._until, self._addresses, self._plain = until, addresses, httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Connect to the first address that takes it."""
        failure: Exception | None = None
        for address in self._addresses(host, port, _left(self._until, None)):
            try:
                half = _left(self._until, None) / 2  # the next address wants some
                return _Timed(self._plain.connect_tcp(address, port, timeout=half), self._until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host!r} has no address")


class _Timed(httpcore.NetworkStream):
    """A stream on which each wait ends when the time of the whole is over."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, up to so many bytes."""
        return self._stream.read(max_bytes, _left(self._until, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it, a piece at a time, as long as there is time."""
        for begin in range(0, len(buffer), PIECE_BYTES):
            self._stream.write(buffer[begin : begin + PIECE_BYTES], _left(self._until, timeout))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on in TLS, under the name that the address has."""
        left = _left(self._until, timeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        """Tell what the stream knows."""
        return self._stream.get_extra_info(info)


def _left(until: float, timeout: float | None) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left if timeout is None else min(left, timeout)
