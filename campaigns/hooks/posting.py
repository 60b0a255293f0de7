"""One post to a receiver: to an address that was resolved and checked for this connection, never redirected.

Everything together takes a limited time, however slowly a receiver drips; of its answer only the beginning is read.
"""

import time
from dataclasses import dataclass

import httpx

from campaigns.hooks import networks
from campaigns.hooks.models import TAKEN
from fleet import posts
from fleet.errors import BadInputError

WHOLE_SECONDS = 10.0
ANSWER_SHOWN = 1_000  # characters


@dataclass(frozen=True)
class Outcome:
    """What came of one try. `status` None: there was no answer, and `error` says why.

    `reached` marks the receivers of a notification who have it now, whether all of them do or not.
    """

    status: int | None
    answer: str = ""
    error: str = ""
    took_ms: int = 0
    reached: tuple[str, ...] = ()

    @property
    def is_taken(self) -> bool:
        """Say whether the receiver took it."""
        return self.status in TAKEN


def checked_url(address: str) -> httpx.URL:
    """Read the address of a receiver. Raise BadInputError; whether its network is allowed is another question."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadInputError(f"address {address[:200]!r} is no URL: {error}", "address") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise BadInputError(f"address {address[:200]!r} is no URL like https://example.com/hook", "address")
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise BadInputError(f"address {address[:200]!r} has the port {url.port}, allowed are 1 to 65535", "address")
    if url.userinfo:
        raise BadInputError("address holds a name or a password: hooks are known by their signature", "address")
    return url


def check_reachable(address: str) -> None:
    """Raise BadInputError when it is no URL, or lies where hooks may not go."""
    url = checked_url(address)
    networks.resolve(url.raw_host.decode("ascii"), url.port or _usual_port(url), WHOLE_SECONDS)


def post(address: str, body: bytes, headers: dict[str, str]) -> Outcome:
    """Send it and give what came of it; whatever goes wrong on the way is an outcome as well."""
    began = time.monotonic()
    try:
        status, answer = posts.post(checked_url(address), body, headers, WHOLE_SECONDS, networks.resolve)
    except BadInputError as error:
        return Outcome(None, error=error.sentence, took_ms=_since(began))
    except posts.FAILURES as error:
        return Outcome(None, error=_said(error), took_ms=_since(began))
    return Outcome(status, answer=answer.replace("\0", "")[:ANSWER_SHOWN], took_ms=_since(began))


def _said(error: Exception) -> str:
    if isinstance(error, posts.TIMEOUTS):
        return f"no answer within {WHOLE_SECONDS:g} seconds"
    return f"{type(error).__name__}: {error}".removesuffix(": ")[:500]


def _since(began: float) -> int:
    return int(1000 * (time.monotonic() - began))


def _usual_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80
