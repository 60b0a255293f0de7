"""Where log lines of agents go: an NDJSON file or a Redis stream; without a sink they are counted and dropped.

Agents send lines at least once, in batches that vary, so lines are compared one by one: their digests are kept in Redis
for an hour or two, for all gateways. A line is claimed, written and then marked, so that of two gateways that get it at
once one writes it and the other tells the agent to come again. It is acknowledged when the sink has it and never
before: what is cut off in between is written twice at worst. A stream is in a Redis of its own, marks included, because
a flood of lines must never fill the one that answers go through.
"""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from redis.exceptions import RedisError

from agents.board import keyspace
from fleet.counting import counted, plural

SEEN_SECONDS = 3600  # of one set of digests; the one before it is looked at as well
MOST_SEEN = 1_000_000  # digests of one set, about 64 bytes each: lines above that may be there twice
CLAIM_SECONDS = 30  # after which the lines of a gateway that died are free again
STREAM_MOST_LINES = 1_000_000
FORMS = "file:///path/of.ndjson nor redis://host:port/db#key"


class LogSinkError(Exception):
    """The setting cannot be used; the sentence names it."""


class LinesUnderWayError(OSError):
    """Another gateway is writing some of the lines just now: whether they will be in the sink is not known yet."""


class Rotation(NamedTuple):
    """How large a file grows (bytes, 0 = for ever), and how many full ones stay beside it as .1, .2 …"""

    most_bytes: int = 0
    kept: int = 1


NO_ROTATION = Rotation()


class LogSink:
    """One gateway's end of the sink, on a connection of its own: the board's is never kept waiting."""

    def __init__(self, address: str, redis_url: str, rotation: Rotation = NO_ROTATION) -> None:
        if rotation.most_bytes < 0:
            raise LogSinkError(
                f"LOG_FILE_MAX_BYTES {rotation.most_bytes} is below 0, which lets the file grow for ever"
            )
        if rotation.kept < 1:
            raise LogSinkError(f"LOG_FILES_KEPT {rotation.kept} is below the minimum of 1 file")
        self._rotation = rotation
        parts = urlsplit(address)
        self._file = Path(unquote(parts.path)) if parts.scheme == "file" and parts.path else None
        self._stream = parts.fragment if parts.scheme in ("redis", "rediss", "unix") else ""
        if self._file is None and not self._stream:
            raise LogSinkError(f"LOG_SINK {_shown(address)!r} is neither {FORMS}")
        if self._stream and self._server(address) == keyspace.server_of(redis_url):
            raise LogSinkError(f"LOG_SINK {_shown(address)!r} is the Redis of REDIS_URL: log lines would fill it")
        self._client = keyspace.connect_async(address.partition("#")[0] if self._stream else redis_url)
        self._turn = asyncio.Lock()

    @staticmethod
    def _server(address: str) -> tuple[str, int, str]:
        try:
            return keyspace.server_of(address)
        except ValueError as error:
            raise LogSinkError(f"LOG_SINK {_shown(address)!r} is no address of a Redis: {error}") from error

    async def append(self, host: int, kind: str, lines: Sequence[bytes]) -> int:
        """Append the lines that are new; give how many were.

        `lines` are JSON values as they came; each is kept as `{"host_id", "log_type", "line"}`. Raise OSError or
        RedisError when the sink fails or another gateway has not written its share yet: the agent is to come again.
        """
        digests = {_digest(host, line): line for line in lines}
        async with self._turn:
            new, others, bucket = await self._claim(list(digests))
            if new:
                await self._write_claimed([_entry(host, kind, digests[digest]) for digest in new], new, bucket)
        if others:
            raise LinesUnderWayError(
                f"{others} of {counted(len(digests), 'log line')} {plural(others, 'is', 'are')} being written by"
                " another gateway"
            )
        return len(new)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _claim(self, digests: list[bytes]) -> tuple[list[bytes], int, str]:
        """Claim what nobody wrote or is writing; give it, how many others are writing, and the set to mark them in.

        Claimed first and looked up after, in this order: whoever wrote a line marks it before letting go of it. No
        set when the one of this hour is full.
        """
        if not digests:
            return [], 0, ""
        hour = int(time.time()) // SEEN_SECONDS
        now, before = keyspace.log_seen_key(hour), keyspace.log_seen_key(hour - 1)
        pipe = self._client.pipeline(transaction=False)
        for digest in digests:
            pipe.set(keyspace.log_claim_key(digest), b"", nx=True, ex=CLAIM_SECONDS)
        pipe.smismember(now, digests).smismember(before, digests).scard(now)
        *claims, in_now, in_before, size = await pipe.execute()
        verdicts = list(zip(digests, claims, map(max, in_now, in_before), strict=True))
        new = [digest for digest, is_mine, is_seen in verdicts if is_mine and not is_seen]
        old = [digest for digest, is_mine, is_seen in verdicts if is_mine and is_seen]
        if old:
            await self._let_go(old)
        others = sum(not is_mine and not is_seen for _, is_mine, is_seen in verdicts)
        return new, others, now if size < MOST_SEEN else ""

    async def _write_claimed(self, entries: list[bytes], digests: list[bytes], bucket: str) -> None:
        try:
            await self._write(entries)
        except BaseException:
            with suppress(RedisError, OSError):  # then they are free in CLAIM_SECONDS
                await self._let_go(digests)
            raise
        pipe = self._client.pipeline()
        if bucket:
            pipe.sadd(bucket, *digests).expire(bucket, 2 * SEEN_SECONDS)
        pipe.unlink(*map(keyspace.log_claim_key, digests))
        await pipe.execute()

    async def _let_go(self, digests: list[bytes]) -> None:
        await self._client.unlink(*map(keyspace.log_claim_key, digests))

    async def _write(self, entries: list[bytes]) -> None:
        if self._file is not None:
            await asyncio.to_thread(_append, self._file, b"".join(entries), self._rotation)
            return
        pipe: Any = self._client.pipeline()
        for entry in entries:
            pipe.xadd(self._stream, {"line": entry}, maxlen=STREAM_MOST_LINES, approximate=True)
        await pipe.execute()


def _append(path: Path, content: bytes, rotation: Rotation = NO_ROTATION) -> None:
    """Append whole lines or nothing; the file is opened anew each time, so that others may rotate it by renaming.

    Gateways take turns by a lock on the file: what one could write in part only, it takes back before the next comes.
    """
    file = _locked(path)
    try:
        size = os.fstat(file).st_size
        if size and rotation.most_bytes and size + len(content) > rotation.most_bytes:
            _rotate(path, rotation.kept)
            full, file = file, -1
            os.close(full)
            file = _locked(path)
            size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # half a line of a gateway that was killed
            content = b"\n" + content
        try:
            _write_whole(file, content)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        if file >= 0:
            os.close(file)


def _locked(path: Path) -> int:
    """Open the file and wait for its lock; again when it was rotated meanwhile: nothing is written to a full one."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _rotate(path: Path, kept: int) -> None:
    """Rename the full file to .1, that to .2 and so on; the oldest goes. Only who holds the full file's lock may.

    The full file is renamed last: whoever is killed in between leaves a gap among the numbers and loses nothing.
    """
    for number in range(kept, 1, -1):
        with suppress(FileNotFoundError):
            os.replace(f"{path}.{number - 1}", f"{path}.{number}")
    os.replace(path, f"{path}.1")


def _write_whole(file: int, content: bytes) -> None:
    written = os.write(file, content)
    if written != len(content):
        raise OSError(f"only {written} of {counted(len(content), 'byte')} of log lines were written")
    os.fdatasync(file)


def _entry(host: int, kind: str, line: bytes) -> bytes:
    return b'{"host_id":%d,"log_type":"%s","line":%s}\n' % (host, kind.encode(), line.replace(b"\n", b" "))


def _digest(host: int, line: bytes) -> bytes:
    return hashlib.blake2b(b"%d %s" % (host, line), digest_size=12).digest()


def _shown(address: str) -> str:
    """Give an address without its password."""
    parts = urlsplit(address)
    return address.replace(f"{parts.username or ''}:{parts.password}@", "…@") if parts.password else address
