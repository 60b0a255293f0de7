"""How far the stream is stored in Postgres. Whoever holds the cursor's row is the collector."""

from datetime import datetime

from agents.board import clock, keyspace, operator_verbs
from campaigns.collecting.models import StreamCursor


def take() -> StreamCursor | None:
    """Lock the cursor's row until the transaction ends; None when another copy holds it."""
    StreamCursor.objects.get_or_create(stream=keyspace.STREAM)
    return StreamCursor.objects.select_for_update(skip_locked=True).filter(stream=keyspace.STREAM).first()


def stored_entry() -> str:
    """Give the last entry that is stored."""
    return StreamCursor.objects.get_or_create(stream=keyspace.STREAM)[0].entry


def is_stored(entry: str) -> bool:
    """Say whether everything up to this entry of the stream is in Postgres."""
    return keyspace.entry_order(stored_entry()) >= keyspace.entry_order(entry)


def stored_until() -> datetime:
    """Give the moment up to which everything that hosts sent is in Postgres."""
    now = clock.now()
    return now if is_stored(operator_verbs.last_entry()) else clock.moment(keyspace.entry_ms(stored_entry()))
