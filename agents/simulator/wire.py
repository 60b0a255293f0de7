"""One request of an osquery agent on the wire (protocol notes 1.1 to 1.6, layer A).

Every request opens a new TCP and TLS connection, with no resumption, has 16 s in all, and is sent once more, at once,
when its connection breaks. TLS runs over memory buffers, because asyncio's own costs 256 KiB a connection and hides
whether the stream ended in order.
"""

import asyncio
import logging
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

from agents.simulator.response import BrokenError, Response, ResponseReader

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 16.0
_RESOLVER_SECONDS = 60.0


class TimedOutError(Exception):
    """The request's time was up; it is not sent again by the client itself."""


class Endpoint:
    """The server as every host of the process sees it: address, trust, and the resolver's last answer."""

    def __init__(self, url: str, ca: str | Path, client: tuple[Path, Path] | None = None) -> None:
        """Take the address, the CA's file, and with mutual TLS the files of a certificate and its key."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"the server's address {url!r} is not https://host[:port]")
        self.host = parts.hostname
        self.port = parts.port or 443
        self.path = parts.path.rstrip("/")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_verify_locations(cafile=str(ca))
        if client is not None:
            self.context.load_cert_chain(*client)
        self._addresses: list[str] = []
        self._resolved_at = float("-inf")

    async def connect(self, request: bytes) -> "Connection":
        """Open a connection that sends the request as soon as TLS stands. Raise OSError when no address answers."""
        loop = asyncio.get_running_loop()
        refused = OSError(f"no address for {self.host}")
        for address in await self._resolve():
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self.context, self.host, request), address, self.port
                )
            except OSError as error:
                refused = error
            else:
                return connection
        raise refused

    async def _resolve(self) -> list[str]:
        now = time.monotonic()
        if not self._addresses or now - self._resolved_at > _RESOLVER_SECONDS:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            self._resolved_at = now
        return self._addresses


class Connection(asyncio.Protocol):
    """One TLS connection carrying one request; `response` is its answer or what went wrong."""

    def __init__(self, context: ssl.SSLContext, server_name: str, request: bytes) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._unsent: bytes | None = request
        self._reader = ResponseReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what asyncio promises, for the type checker
        self._transport = transport
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the network."""
        if not self.response.done():
            self._incoming.write(data)
            self._advance()

    def eof_received(self) -> None:
        """Let TLS judge whether the stream ended in order; the transport closes by itself."""
        if not self.response.done():
            self._incoming.write_eof()
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever is not answered by now never will be."""
        self._fail(exc or BrokenError("connection closed"))

    def close(self) -> None:
        """Close without close_notify, as the agent does."""
        self.response.cancel()
        if self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        try:
            self._step()
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, BrokenError) as error:
            self._flush()  # the alert that says why
            self._fail(error)

    def _step(self) -> None:
        if self._unsent is not None:
            self._tls.do_handshake()
            unsent, self._unsent = memoryview(self._unsent), None
            while unsent:  # one TLS record a round
                unsent = unsent[self._tls.write(unsent) :]
            self._flush()
        while not self.response.done():
            data = self._tls.read(65536)
            if data:
                self._reader.feed(data)
            else:
                self._reader.end()
            if self._reader.response is not None:
                self.response.set_result(self._reader.response)

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def _fail(self, error: Exception) -> None:
        if not self.response.done():
            self.response.set_exception(error)
            self.response.exception()  # seen: when the host was ended meanwhile nobody waits for it


class Wire:
    """The client of one host: one request at a time, and the last connection kept idle until the next one."""

    def __init__(self, endpoint: Endpoint, version: str = "5.23.0", limit: float = REQUEST_SECONDS) -> None:
        self._endpoint = endpoint
        self._version = version
        self._limit = limit
        self._idle: Connection | None = None

    def another(self) -> "Wire":
        """Give the client of another thread of the same host."""
        return Wire(self._endpoint, self._version, self._limit)

    async def post(self, path: str, body: bytes, node_key: str = "") -> bytes:
        """Give the body of the answer. Raise TimedOutError, or BrokenError when two connections broke."""
        self.close()
        request = self._head(path, len(body), node_key) + body
        try:
            async with asyncio.timeout(self._limit):
                try:
                    return await self._exchange(request)
                except (OSError, BrokenError) as error:
                    logger.debug("request resent path=%s reason=%s", path, error)
                    return await self._exchange(request)
        except TimeoutError:
            raise TimedOutError(f"no answer within {self._limit:g} s") from None
        except OSError as error:
            raise BrokenError(str(error)) from error

    def close(self) -> None:
        """Drop the idle connection, if any."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    async def _exchange(self, request: bytes) -> bytes:
        connection = await self._endpoint.connect(request)
        try:
            response = await connection.response
        except BaseException:
            connection.close()
            raise
        if response.closes:
            connection.close()
        else:
            self._idle = connection
        return response.body

    def _head(self, path: str, length: int, node_key: str) -> bytes:
        """Give the request line and headers in the agent's order; the key's header came with 5.23.0."""
        endpoint = self._endpoint
        port = "" if endpoint.port == 443 else f":{endpoint.port}"
        lines = [
            f"POST {endpoint.path}{path} HTTP/1.1",
            "Content-Type: application/json",
            "Accept: application/json",
            f"User-Agent: osquery/{self._version}",
            f"Host: {endpoint.host}{port}",
            f"Content-Length: {length}",
        ]
        if node_key and tuple(map(int, self._version.split("."))) >= (5, 23):
            lines.insert(4, f"Authorization: NodeKey {node_key}")
        return "\r\n".join([*lines, "", ""]).encode()
