"""Carries answers elsewhere as they are stored, in order: to an NDJSON file, a Redis stream, or an address over HTTP.

How far it is stands in a row that moves after the answers went out, so what fails is tried again for as long as it
takes, and a process that dies in between sends some twice: `id`, or campaign and host, tell them. Results are numbered
by one collector at a time, in the order in which they are committed, so who reads by number misses none. A new
destination gets every answer that is kept, from the first.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from campaigns.answers import destinations
from campaigns.answers.destinations import SinkError
from campaigns.answers.models import AnswersCarried
from campaigns.answers.results import timestamp
from campaigns.models import Result

logger = logging.getLogger(__name__)

RUN_SECONDS = 10.0  # of one step; the next one goes on
TRIED_EVERY = timedelta(seconds=5)  # while it fails
READ_AT_ONCE = 50  # results: each may be large
BATCH, BATCH_BYTES = 500, 2**20  # answers of one batch; one that is larger goes alone
AFTER = """
SELECT result.id, campaign_id, campaign.name, campaign.query_id, seq, host_id, hostname, state, rows::text, row_count,
    truncated, late, error, received_at
FROM campaigns_result AS result LEFT JOIN campaigns_campaign AS campaign ON campaign.id = campaign_id
WHERE result.id > %s ORDER BY result.id LIMIT %s
"""


class Line(NamedTuple):
    """One answer as it is carried: the number of its result, and its JSON."""

    number: int
    content: bytes


def step() -> int:
    """Carry what is new; give how many answers. Safe to run twice: one carries, the other goes."""
    sink = settings.ANSWERS_SINK
    if not sink:
        return 0
    row, is_new = AnswersCarried.objects.get_or_create(sink=destinations.name_of(sink))
    if row.failing_since and row.tried_at and timezone.now() - row.tried_at < TRIED_EVERY:
        return 0
    is_idle = not (is_new or row.failing_since) and not Result.objects.filter(pk__gt=row.result_id).exists()
    if is_idle:
        return 0  # to open a destination costs more than to look
    carried, until = 0, time.monotonic() + RUN_SECONDS
    try:
        with destinations.opened(sink) as send:
            while (some := _carry_batch(row.pk, send)) and time.monotonic() < until:
                carried += some
    except (OSError, SinkError) as error:
        _note_failure(row.pk, str(error))
    return carried


def _carry_batch(row_id: int, send: destinations.Send) -> int:
    """Send one batch and move the cursor, holding its row: whoever dies in between leaves the batch to the next one."""
    with transaction.atomic():
        row = AnswersCarried.objects.select_for_update(skip_locked=True).filter(pk=row_id).first()
        if row is None:
            return 0
        lines = list(_batch(row.result_id))
        if lines:
            send([line.content for line in lines])
            row.result_id, row.moved_at = lines[-1].number, timezone.now()
        if lines or row.failing_since:
            row.failing_since, row.last_error = None, ""
            row.save()
        return len(lines)


def _batch(after: int) -> Iterator[Line]:
    many = size = 0
    for line in _lines(after):
        many, size = many + 1, size + len(line.content)
        if many > BATCH or (many > 1 and size > BATCH_BYTES):
            return
        yield line


def _lines(after: int) -> Iterator[Line]:
    while True:
        with connection.cursor() as cursor:
            cursor.execute(AFTER, [after, READ_AT_ONCE])
            records = cursor.fetchall()
        for record in records:
            after = record[0]
            yield Line(after, _content(record))
        if len(records) < READ_AT_ONCE:
            return


def _content(record: Sequence[Any]) -> bytes:
    """Write an answer as JSON; `rows` are what is stored, undecoded."""
    number, campaign, name, query, seq, host, hostname, state, rows, row_count, truncated, late, error, at = record
    return msgspec.json.encode(
        {
            "id": f"{campaign}-{host}",
            "result": number,
            "campaign": {"id": campaign, "name": name or "", "query": query},
            "seq": seq,
            "host": {"id": host, "hostname": hostname},
            "state": state,
            "rows": msgspec.Raw(rows.encode()),
            "row_count": row_count,
            "truncated": truncated,
            "late": late,
            "error": error,
            "received_at": timestamp(at),
        }
    )


def _note_failure(row_id: int, reason: str) -> None:
    row = AnswersCarried.objects.get(pk=row_id)
    if row.failing_since is None:
        logger.warning("answers not carried sink=%s reason=%s: it is tried again", row.sink, reason)
    now = timezone.now()
    failure = {"failing_since": row.failing_since or now, "tried_at": now, "last_error": reason[:500]}
    AnswersCarried.objects.filter(pk=row_id).update(**failure)


# --- how far it is ---------------------------------------------------------------------------------------------


class Lag(NamedTuple):
    """How far the sink is behind: since when the oldest answer waits (None = none does), and why, if it fails."""

    oldest: datetime | None
    failing_since: datetime | None
    error: str

    @property
    def seconds(self) -> float:
        """Give how long the oldest has waited."""
        return max(0.0, (timezone.now() - self.oldest).total_seconds()) if self.oldest else 0.0


def lag() -> Lag | None:
    """Look how far the sink is; None = there is none."""
    if not settings.ANSWERS_SINK:
        return None
    row = AnswersCarried.objects.filter(sink=destinations.name_of(settings.ANSWERS_SINK)).first()
    waiting = Result.objects.filter(pk__gt=row.result_id if row else 0).order_by("pk")
    oldest = waiting.values_list("received_at", flat=True).first()
    return Lag(oldest, row.failing_since if row else None, row.last_error if row else "")
