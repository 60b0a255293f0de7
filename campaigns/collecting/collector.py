"""Carry the stream into Postgres: in order and exactly once.

One transaction holds the cursor's row, stores a batch and moves the cursor. Who holds the row is the collector; other
copies stand by. There is nothing to acknowledge and nothing to take over: a copy that dies loses its lock, and what it
had not committed is read again by the next.
"""

import gc
import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction
from prometheus_client import Counter, Gauge, Histogram
from redis.exceptions import RedisError

from agents.board import keyspace, redis_client
from campaigns import doorbell
from campaigns.collecting.batch import Batch
from campaigns.collecting.cursor import take
from campaigns.collecting.entry import Entry
from campaigns.collecting.models import DeadLetter
from campaigns.collecting.reading import LISTEN_MS, Reader, listen
from campaigns.models import Campaign, Target
from campaigns.states import OPEN_STATES, SILENT_STATES, State
from fleet import alive, traces
from fleet.metrics import note_error

logger = logging.getLogger(__name__)

MOST_HALVED = 500  # entries that share a transaction with one that cannot be stored
LISTENS = 10  # of a second each, before PostgreSQL is asked again though nothing came
LONGEST_PAUSE = 5.0  # seconds between two tries while a server is away
# What is wrong with an entry, not with the database: numbers out of range, NUL bytes, rows that are not JSON.
DATA_ERRORS = (DataError, IntegrityError, ValueError)

BATCH = Histogram(
    "fleet_collector_batch_entries", "Entries of the stream stored together", buckets=(1, 10, 50, 100, 500, 1000, 5000)
)
BATCH_SECONDS = Histogram(
    "fleet_collector_batch_seconds",
    "From the cursor's lock until the batch was committed",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BURIED = Counter("fleet_collector_dead_letters", "Entries that could not be stored and were kept as dead letters")
AT_WORK = Gauge("fleet_collector_at_work", "1 = this copy carries the stream, 0 = it stands by")


class Collector:
    """One copy of `manage.py collect`."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._seen = "0-0"
        self._reader = Reader()

    def stop(self) -> None:
        """Finish the batch under way and return from `run`."""
        self._stopping.set()

    def run(self) -> None:
        """Collect until stopped. Trouble with a server is waited out without limit."""
        gc.freeze()  # a batch makes so many objects that looking through all of Django again and again costs a fifth
        pause = 0.0
        while not self._stopping.is_set():
            alive.note(settings.ALIVE_FILE)
            try:
                began = time.perf_counter()
                collected = self.collect()
                AT_WORK.set(collected is not None)
                if collected:
                    BATCH.observe(collected)
                    BATCH_SECONDS.observe(time.perf_counter() - began)
                if collected is None:
                    self._stopping.wait(LISTEN_MS / 1000)
                elif not collected:
                    self._wait_for_more()
                pause = 0.0
            except (RedisError, OSError, DatabaseError) as error:
                note_error(error)
                logger.warning("collector waits reason=%s", str(error).strip())
                connection.close()
                pause = min(LONGEST_PAUSE, pause * 2 or 0.1)
                self._stopping.wait(pause)
        self._reader.close()

    def _wait_for_more(self) -> None:
        """Wait for an entry, and look by the cursor now and then all the same: another copy may have moved it."""
        for _ in range(LISTENS):
            if listen(self._seen) or self._stopping.is_set():
                return

    def collect(self) -> int | None:
        """Store one batch; give how many entries it had, None when another copy is at work."""
        with transaction.atomic():
            _bound_idle_time()
            cursor = take()
            if cursor is None:
                return None
            entries: Sequence[Entry] = self._reader.after(cursor.entry)
            if entries:
                entries = store_first(entries)
                cursor.entry = entries[-1].id
                cursor.save(update_fields=["entry", "moved_at"])
            seen = cursor.entry
        self._seen = seen
        # Also when nothing came: what a copy stored but did not live to trim goes away as well.
        redis_client.client().xtrim(keyspace.STREAM, minid=keyspace.entry_after(seen), approximate=False)
        return len(entries)


def _bound_idle_time() -> None:
    """Let Postgres end this transaction when the process freezes within it, so that a standby can take over."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")


def store_first(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Store a batch; give the entries that were: all, or the first few where one of them cannot be stored.

    To find that one, and as many more as there are, takes its time, and locks are held meanwhile.
    """
    if len(entries) > MOST_HALVED:
        with suppress(*DATA_ERRORS), transaction.atomic():
            Batch(entries).store()
            return entries
    store(entries[:MOST_HALVED])
    return entries[:MOST_HALVED]


def store(entries: Sequence[Entry]) -> None:
    """Store a batch. An error of the data halves it, down to the one entry that is to blame."""
    try:
        with transaction.atomic():
            Batch(entries).store()
    except DATA_ERRORS as error:
        if len(entries) == 1:
            bury(entries[0], str(error))
            return
        # The halves lock their campaigns one after the other; in order of id they can only be locked together.
        Campaign.objects.locked({entry.campaign for entry in entries if entry.campaign is not None})
        middle = len(entries) // 2
        store(entries[:middle])
        store(entries[middle:])


def bury(entry: Entry, reason: str) -> None:
    """Keep an entry that cannot be stored as a dead letter, and make its target `failed` with the reason."""
    BURIED.inc()
    reason = reason.replace("\0", "").strip()[:1000]
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in entry.fields.items()}
    campaign_id, host_id = entry.campaign, entry.host
    DeadLetter.objects.get_or_create(
        stream=keyspace.STREAM,
        entry=entry.id,
        defaults={
            "campaign_id": campaign_id,
            "host_id": host_id,
            "reason": reason,
            "fields": json.dumps(fields).encode(),
        },
    )
    logger.error("entry not stored entry=%s campaign=%s host=%s reason=%s", entry.id, campaign_id, host_id, reason)
    if campaign_id is None or host_id is None:
        return
    campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
    if campaign is not None:
        traces.note(campaign, "entry not stored", entry.at.timestamp(), error="it is kept as a dead letter")
        _fail(campaign, host_id, entry, reason)


def _fail(campaign: Campaign, host_id: int, entry: Entry, reason: str) -> None:
    target = Target.objects.filter(campaign=campaign, host_id=host_id).first()
    if target is None or target.state not in OPEN_STATES + SILENT_STATES:
        return
    campaign.move(target.state, State.FAILED)
    target.state, target.error = State.FAILED, f"the answer could not be stored: {reason}"
    target.answered_at = target.ended_at = entry.at
    target.late = campaign.is_past(entry.at)
    target.save(update_fields=["state", "error", "answered_at", "ended_at", "late"])
    campaign.save_counts()
    campaign.complete_if_over(entry.at)
    doorbell.ring(campaign.pk)
