"""Read the stream in batches; while PostgreSQL stores one batch of a long stream, the next is read.

Nothing here moves the cursor. What was read ahead is used only while it is sure to be what would be read now.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from agents.board import keyspace, redis_client
from campaigns.collecting.entry import Entry

# So many that a commit, four round trips and a doorbell are little beside them; so few that a campaign's lock, which
# buttons of operators wait for, is held for a fraction of a second.
BATCH_ENTRIES = 4000
BATCH_BYTES = 16 * 2**20
STEP_ENTRIES = 25  # read at a time, so that a few giants cannot fill the memory
LISTEN_MS = 1000


class Reader:
    """Gives what comes after an entry, as many entries as make one batch."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: tuple[str, Future[list[Entry]]] | None = None

    def after(self, entry: str) -> list[Entry]:
        """Give the next batch, and read on behind it when there is more. Raise RedisError."""
        entries = self._read_ahead_after(entry) or read_after(entry)
        if is_full(entries):
            self._read_on(entries[-1].id)
        return entries

    def _read_ahead_after(self, entry: str) -> list[Entry]:
        """Give what was read after this entry, if its end lies there still: Redis may have been emptied since."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != entry:
            return []
        entries = ahead[1].result()
        if not entries:
            return []
        last = entries[-1].id
        return entries if redis_client.client().xrange(keyspace.STREAM, min=last, max=last) else []

    def _read_on(self, entry: str) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._ahead = entry, self._thread.submit(read_after, entry)

    def close(self) -> None:
        """Let go of the thread and of what it read."""
        self._ahead = None
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


def is_full(entries: list[Entry]) -> bool:
    """Say whether there were more than make a batch, most likely."""
    return len(entries) >= BATCH_ENTRIES or _size(entries) >= BATCH_BYTES


def read_after(entry: str) -> list[Entry]:
    """Read the next entries of the stream, as many as make one batch."""
    entries: list[Entry] = []
    size = 0
    while len(entries) < BATCH_ENTRIES and size < BATCH_BYTES:
        step = _step(entries[-1].id if entries else entry)
        entries += step
        size += _size(step)
        if len(step) < STEP_ENTRIES:
            break
    return entries


def _step(entry: str) -> list[Entry]:
    found: list[Any] = redis_client.client().xrange(keyspace.STREAM, min=f"({entry}", count=STEP_ENTRIES)
    return [Entry(entry_id.decode(), fields) for entry_id, fields in found]


def _size(entries: list[Entry]) -> int:
    return sum(len(value) for entry in entries for value in entry.fields.values())


def listen(entry: str) -> bool:
    """Wait for an entry after this one, a second at most; say whether there is one."""
    return bool(redis_client.client().xread({keyspace.STREAM: entry}, count=1, block=LISTEN_MS))
