"""One post to a receiver: to an address that was resolved and checked for this connection, never redirected.

Everything together takes a limited time, however slowly a receiver drips; of its answer only the beginning is read.
"""

import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from campaigns.hooks import networks
from fleet.errors import BadInputError

WHOLE_SECONDS = 10.0
MOST_ANSWER_BYTES = 4_096
ANSWER_SHOWN = 1_000  # characters


@dataclass(frozen=True)
class Outcome:
    """What came of one try. `status` None: there was no answer, and `error` says why."""

    status: int | None
    answer: str = ""
    error: str = ""
    took_ms: int = 0

    @property
    def is_taken(self) -> bool:
        """Say whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def checked_url(address: str) -> httpx.URL:
    """Read the address of a receiver. Raise BadInputError; whether its network is allowed is another question."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadInputError(f"address {address[:200]!r} is no URL: {error}", "address") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInputError(f"address {address[:200]!r} is no URL like https://example.com/hook", "address")
    if url.userinfo:
        raise BadInputError("address holds a name or a password: hooks are known by their signature", "address")
    return url


def check_reachable(address: str) -> None:
    """Raise BadInputError when it is no URL, or lies where hooks may not go."""
    url = checked_url(address)
    networks.resolve(url.raw_host.decode("ascii"), url.port or _usual_port(url))


def post(address: str, body: bytes, headers: dict[str, str]) -> Outcome:
    """Send it and give what came of it; whatever goes wrong on the way is an outcome as well."""
    began = time.monotonic()
    try:
        status, answer = _post(checked_url(address), body, headers, began + WHOLE_SECONDS)
    except BadInputError as error:
        return Outcome(None, error=error.sentence, took_ms=_since(began))
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
        return Outcome(None, error=_said(error), took_ms=_since(began))
    return Outcome(status, answer=answer.replace("\0", ""), took_ms=_since(began))


def _post(url: httpx.URL, body: bytes, headers: dict[str, str], until: float) -> tuple[int, str]:
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    seconds = dict.fromkeys(("connect", "read", "write", "pool"), WHOLE_SECONDS)
    sent = {"host": url.netloc.decode("ascii"), "accept-encoding": "identity", "connection": "close", **headers}
    with (
        httpcore.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=_Checked(until)) as pool,
        pool.stream("POST", target, headers=list(sent.items()), content=body, extensions={"timeout": seconds}) as told,
    ):
        return told.status, _beginning(told.iter_stream())


def _beginning(pieces: Iterable[bytes]) -> str:
    read = b""
    for piece in pieces:
        read += piece
        if len(read) >= MOST_ANSWER_BYTES:
            break
    return read.decode("utf-8", "replace")[:ANSWER_SHOWN]


def _said(error: Exception) -> str:
    if isinstance(error, (httpcore.TimeoutException, TimeoutError)):
        return f"no answer within {WHOLE_SECONDS:g} seconds"
    return f"{type(error).__name__}: {error}".removesuffix(": ")[:500]


def _since(began: float) -> int:
    return int(1000 * (time.monotonic() - began))


def _usual_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80


class _Checked(httpcore.NetworkBackend):
    """Connections to addresses that were checked, none of which outlasts its time."""

    def __init__(self, until: float) -> None:
        self._until, self._plain = until, httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Connect to the first address that takes it."""
        failure: Exception | None = None
        for address in networks.resolve(host, port):
            try:
                left = _left(self._until, WHOLE_SECONDS / 2)
                return _Timed(self._plain.connect_tcp(address, port, timeout=left), self._until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host!r} has no address")


class _Timed(httpcore.NetworkStream):
    """A stream on which each wait ends when the time of the whole is over."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there."""
        return self._stream.read(max_bytes, _left(self._until, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        self._stream.write(buffer, _left(self._until, timeout))

    def close(self) -> None:
        """End it."""
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
