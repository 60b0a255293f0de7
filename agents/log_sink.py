"""Where log lines of agents go: an NDJSON file or a Redis stream; without a sink they are counted and dropped.

Agents send lines at least once, in batches that vary, so lines are compared one by one: their digests are kept in Redis
for an hour or two, for all gateways. A line is acknowledged when the sink has it; when the sink fails, the agent keeps
its lines and comes again.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet import keyspace

SEEN_SECONDS = 3600  # of one set of digests; the one before it is looked at as well
STREAM_MOST_LINES = 1_000_000


class LogSinkError(Exception):
    """The setting cannot be used; the sentence names it."""


class LogSink:
    """One gateway's end of the sink, on a connection of its own: the board's is never kept waiting."""

    def __init__(self, address: str, redis_url: str) -> None:
        parts = urlsplit(address)
        self._file = Path(parts.path) if parts.scheme == "file" and parts.path else None
        self._stream = parts.netloc + parts.path if parts.scheme == "redis-stream" else ""
        if self._file is None and not self._stream:
            raise LogSinkError(f"LOG_SINK {address!r} is neither file:///path/of.ndjson nor redis-stream://key")
        self._client = keyspace.connect_async(redis_url)
        self._turn = asyncio.Lock()

    async def append(self, host: int, kind: str, lines: Sequence[bytes]) -> int:
        """Append the lines that are new; give how many were. Raise OSError or RedisError when the sink fails.

        `lines` are JSON values as they came; each is kept as `{"host_id", "log_type", "line"}`.
        """
        digests = {_digest(host, line): line for line in lines}
        async with self._turn:
            bucket = int(time.time()) // SEEN_SECONDS
            seen = await self._seen(bucket, list(digests))
            new = [digest for digest in digests if digest not in seen]
            if new:
                await self._write([_entry(host, kind, digests[digest]) for digest in new])
                key = keyspace.log_seen_key(bucket)
                await self._client.pipeline().sadd(key, *new).expire(key, 2 * SEEN_SECONDS).execute()
        return len(new)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _seen(self, bucket: int, digests: list[bytes]) -> set[bytes]:
        if not digests:
            return set()
        pipe = self._client.pipeline(transaction=False)
        for number in (bucket, bucket - 1):
            pipe.smismember(keyspace.log_seen_key(number), digests)
        known: list[list[int]] = await pipe.execute()
        return {digest for digest, *marks in zip(digests, *known, strict=True) if any(marks)}

    async def _write(self, entries: list[bytes]) -> None:
        if self._file is not None:
            await asyncio.to_thread(_append, self._file, b"".join(entries))
            return
        pipe: Any = self._client.pipeline()
        for entry in entries:
            pipe.xadd(self._stream, {"line": entry}, maxlen=STREAM_MOST_LINES, approximate=True)
        await pipe.execute()


def _append(path: Path, content: bytes) -> None:
    """Append in one write; the file is opened anew each time, so that it can be rotated by renaming."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        written = os.write(file, content)
        if written != len(content):
            raise OSError(f"{path}: only {written} of {len(content)} bytes were written")
        os.fdatasync(file)
    finally:
        os.close(file)


def _entry(host: int, kind: str, line: bytes) -> bytes:
    return b'{"host_id":%d,"log_type":"%s","line":%s}\n' % (host, kind.encode(), line.replace(b"\n", b" "))


def _digest(host: int, line: bytes) -> bytes:
    return hashlib.blake2b(b"%d %s" % (host, line), digest_size=12).digest()
