"""One entry of the stream, as it lies there, and what is read in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from agents.board import clock, keyspace
from agents.protocol import messages


class Entry:
    """Kinds: d delivered, g given back (it was not), a answered, n no answer, b the board began.

    Campaign and host are None where the entry does not say them readably; housekeeping's campaigns are negative.
    """

    __slots__ = ("campaign", "fields", "host", "id", "kind")

    def __init__(self, entry_id: str, fields: dict[bytes, bytes]) -> None:
        self.id = entry_id
        self.fields = fields
        self.kind = fields.get(b"k", b"")
        self.campaign = _number(fields.get(b"c", b""))
        self.host = _number(fields.get(b"h", b""))

    @property
    def at(self) -> datetime:
        """Give when Redis took it."""
        return clock.moment(keyspace.entry_ms(self.id))

    @property
    def is_housekeeping(self) -> bool:
        """Say whether the server asked this on its own behalf."""
        return self.campaign is not None and self.campaign < 0

    def address(self) -> tuple[int, int]:
        """Give campaign and host. Raise ValueError when it does not say them."""
        if self.campaign is None or self.host is None:
            raise ValueError(f"the entry names no campaign and host: {sorted(self.fields)}")
        return self.campaign, self.host

    def status(self) -> tuple[int, str]:
        """Give the status and message of an answer."""
        return int(self.fields[b"s"]), self.fields[b"m"].decode("utf-8", "replace")

    def rows(self) -> list[dict[str, str]]:
        """Give the rows of an answer."""
        return messages.rows_of(self.fields[b"r"])


def _number(value: bytes) -> int | None:
    return int(value) if value.removeprefix(b"-").isdigit() and len(value) < 19 else None


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever is odd about an entry's fields into a ValueError. Nothing within does I/O."""
    try:
        yield
    except (LookupError, TypeError, ArithmeticError, OSError) as error:
        raise ValueError(f"the entry cannot be read: {error!r}") from error
