"""Where answers may be carried: each takes a batch of lines, and has it for good when the call returns."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import redis
from django.conf import settings

from agents.board import keyspace
from fleet import posts
from fleet.counting import plural
from fleet.whole_lines import appended

Send = Callable[[Sequence[bytes]], None]
TIMEOUT_SECONDS = 10.0  # of each wait for a Redis
POST_SECONDS = 30.0  # of a whole post, within a transaction
MOST_ENTRIES = 1_000_000  # in a stream that nobody reads: then it waits here, where it is safe
FORMS = "file:///path/of.ndjson, redis://host:port/db#stream, http://host/path or https://host/path"


class SinkError(Exception):
    """The setting cannot be used, or the destination did not take a batch; the sentence says why."""


def name_of(sink: str) -> str:
    """Give what a destination is known by: without the password, which may change."""
    parts = urlsplit(sink)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()[:500]


@contextmanager
def opened(sink: str) -> Iterator[Send]:
    """Open a destination. Raise SinkError for one that is none, OSError or SinkError when it cannot be reached."""
    parts = urlsplit(sink)
    if parts.scheme == "file" and parts.path:
        with appended(Path(unquote(parts.path))) as send:
            yield send
    elif parts.scheme in ("redis", "rediss", "unix") and parts.fragment:
        with _stream(sink, parts.fragment) as send:
            yield send
    elif parts.scheme in ("http", "https") and parts.hostname:
        with _http(sink) as send:
            yield send
    else:
        raise SinkError(f"ANSWERS_SINK {name_of(sink)!r} is unknown: allowed are {FORMS}")


@contextmanager
def _stream(sink: str, key: str) -> Iterator[Send]:
    """Append to a stream of another Redis than the board's, which answers to come go through."""
    address = sink.partition("#")[0]
    try:
        if keyspace.server_of(address) == keyspace.server_of(settings.REDIS_URL):
            raise SinkError(f"ANSWERS_SINK {name_of(sink)!r} is the Redis of REDIS_URL: answers would fill it")
    except ValueError as error:
        raise SinkError(f"ANSWERS_SINK {name_of(sink)!r} is no address of a Redis: {error}") from error
    client = redis.Redis.from_url(address, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)

    def send(lines: Sequence[bytes]) -> None:
        entries: Any = client.xlen(key)
        if entries >= MOST_ENTRIES:
            many = f"{entries:,} {plural(entries, 'entry', 'entries')}"
            raise SinkError(f"the stream {key} has {many}, which nobody takes: answers wait here")
        pipe = client.pipeline(transaction=True)
        for line in lines:
            pipe.xadd(key, {"answer": line})
        pipe.execute()

    try:
        yield send
    except redis.RedisError as error:
        raise SinkError(f"Redis did not take it: {error}") from error
    finally:
        client.close()


@contextmanager
def _http(sink: str) -> Iterator[Send]:
    """Post each batch as NDJSON; what is not answered by 2xx in time was not taken. Redirects are not followed."""
    try:
        url, _ = httpx.URL(sink), urlsplit(sink).port  # of a port beyond 65535 httpx would take what is left of it
    except (httpx.InvalidURL, ValueError) as error:
        raise SinkError(f"ANSWERS_SINK {name_of(sink)!r} is no URL: {error}") from error
    headers = {"content-type": "application/x-ndjson", "user-agent": "fleet-live-queries", **_authorization(url)}

    def send(lines: Sequence[bytes]) -> None:
        try:
            status, told = posts.post(url, b"".join(line + b"\n" for line in lines), headers, POST_SECONDS)
        except posts.TIMEOUTS as error:
            raise SinkError(f"the receiver did not take it within {POST_SECONDS:g} seconds") from error
        except posts.FAILURES as error:
            raise SinkError(f"{type(error).__name__}: {error}") from error
        if not 200 <= status < 300:
            raise SinkError(f"the receiver answered {status}: {told[:200]}".replace("\0", ""))

    yield send


def _authorization(url: httpx.URL) -> dict[str, str]:
    """Give the header that lets in: with the token, or the name and password of the address."""
    if settings.ANSWERS_SINK_TOKEN:
        return {"authorization": f"Bearer {settings.ANSWERS_SINK_TOKEN}"}
    if url.username or url.password:
        return {"authorization": f"Basic {b64encode(f'{url.username}:{url.password}'.encode()).decode()}"}
    return {}
