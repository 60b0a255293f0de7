"""Where a server is, who asks, and whom to trust; how both clients name what went wrong on the way."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import websockets.exceptions

from fleet_live_queries.errors import BadInputError, SocketClosedError, UnreachableError
from fleet_live_queries.steps import Answer, Request

REQUEST_SECONDS = 20.0
MOST_FRAME = 64 * 1024 * 1024  # bytes; the server sends frames of about one megabyte


@dataclass(frozen=True)
class Place:
    """One server and who asks it, checked."""

    url: str
    token: str = field(repr=False)
    ca: str
    trust: ssl.SSLContext

    @classmethod
    def read(cls, url: str, token: str, ca: str) -> "Place":
        """Check address, token and CA file. Raise BadInputError naming what is wrong; never the token."""
        if not (token.isascii() and token.isprintable() and token):
            raise BadInputError("the token holds characters that no token has" if token else "there is no token")
        url = url.strip()
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            known = False
        if not known:
            raise BadInputError(f"{url!r} is no address: https://name or https://name:port is meant")
        address = f"{parts.scheme}{url[len(parts.scheme) :]}".rstrip("/")  # the scheme in lower case
        return cls(address, token, ca, _trust(ca))

    @property
    def for_http(self) -> dict[str, Any]:
        """Give what httpx' clients take."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return {"base_url": self.url, "headers": headers, "verify": self.trust, "timeout": REQUEST_SECONDS}

    def for_socket(self, path: str) -> dict[str, Any]:
        """Give what both of websockets' `connect` take."""
        address = f"ws{self.url.removeprefix('http')}{path}"
        trust = self.trust if address.startswith("wss") else None
        told: dict[str, Any] = {"subprotocols": ["bearer", self.token], "ssl": trust, "max_size": MOST_FRAME}
        return {"uri": address, "open_timeout": 10, "close_timeout": 1, **told}

    def unreachable(self, error: httpx.TransportError) -> UnreachableError:
        """Give the error that a request ended with."""
        why = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in why:
            trusted = f"CA file {self.ca!r}" if self.ca else "the system's CAs; another is named by --ca or ca="
            why = f"{why} (trusted: {trusted})"
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        slow = isinstance(error, httpx.ReadTimeout)
        return UnreachableError(f"no answer from {self.url}: {why}", unsent=unsent, slow=slow)


def arguments(request: Request) -> dict[str, Any]:
    """Give a request as httpx takes it."""
    query = {name: value for name, value in request.query.items() if value is not None}
    told: dict[str, Any] = {"method": request.method, "url": request.path, "params": query, "headers": request.headers}
    if request.seconds is not None:
        told["timeout"] = httpx.Timeout(REQUEST_SECONDS, read=request.seconds)
    return told if request.body is None else {**told, "json": request.body}


def answer_of(response: httpx.Response, content: bytes) -> Answer:
    """Give what came back, as steps take it."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)


def closed(error: Exception) -> SocketClosedError:
    """Give the error that a socket ended with."""
    if isinstance(error, websockets.exceptions.ConnectionClosed) and error.rcvd is not None:
        return SocketClosedError(error.rcvd.code, error.rcvd.reason)
    return SocketClosedError(0, str(error) or type(error).__name__)


SOCKET_ERRORS = (OSError, TimeoutError, websockets.exceptions.WebSocketException)


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) if not isinstance(error, ssl.SSLError) else "it holds no certificate"
        raise BadInputError(f"CA file {ca!r} (--ca, FLEET_CA) cannot be used: {why or error}") from error
