"""Carry when hosts were last seen, and which are busy, from the board to Postgres: for selections, estimates, lists."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain, islice

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from agents.board import clock, heartbeats, keyspace, operator_verbs, redis_client
from agents.models import BUSY, Host
from fleet.database import locks

logger = logging.getLogger(__name__)

HOSTS_A_STATEMENT = 10_000

# Hosts that are not in the table (enrolled in another life of the database) are left out.
CARRY = """
INSERT INTO agents_presence (host_id, last_seen)
SELECT host_id, timestamptz 'epoch' + ms * interval '1 millisecond'
FROM unnest(%s::bigint[], %s::bigint[]) AS told (host_id, ms)
WHERE EXISTS (SELECT FROM agents_host WHERE agents_host.id = told.host_id)
ON CONFLICT (host_id) DO UPDATE SET last_seen = excluded.last_seen
WHERE agents_presence.last_seen < excluded.last_seen
"""

# The clocks of a read and of its delivery are Redis' own, but the read's is reckoned from its age: a little slack.
NOTE_BUSY = """
UPDATE agents_presence AS presence SET busy_since = told.busy_since
FROM unnest(%s::bigint[], %s::timestamptz[]) AS told (host_id, busy_since)
WHERE presence.host_id = told.host_id AND presence.busy_since IS DISTINCT FROM told.busy_since
AND presence.last_seen <= told.busy_since + interval '1 second'
"""
# Only the host itself says that it is done: that its campaign was stopped, it does not hear.
FORGET_BUSY = """
UPDATE agents_presence SET busy_since = NULL
WHERE busy_since < %s OR last_seen > busy_since + interval '1 second'
"""


def carry() -> int:
    """Bring the presence table up to date; give how many rows changed. Running twice changes nothing more."""
    changed = 0
    seen = chain(heartbeats.all_last_reads(), heartbeats.all_last_writes())
    while batch := list(islice(seen, HOSTS_A_STATEMENT)):
        changed += _write(batch)
    _carry_busy()
    heartbeats.forget_silent_gateways()
    carry_doubts()
    return changed


def _carry_busy() -> None:
    """Mark who was handed SQL and was not seen since. Who was so lately is online by its last read anyway."""
    now = clock.now()
    earliest, latest = now - BUSY, now - timedelta(seconds=settings.ONLINE_SECONDS / 2)
    busy = dict(sorted((host, at) for host, at in _in_flight() if earliest < at < latest))
    with transaction.atomic(), connection.cursor() as cursor:
        if locks.take("agents.carry_busy"):
            cursor.execute(FORGET_BUSY, [earliest])
            cursor.execute(NOTE_BUSY, [list(busy), list(busy.values())])


def _in_flight() -> Iterable[tuple[int, datetime]]:
    """Walk over the deliveries without an answer or a further read: host and when it was handed the SQL."""
    for campaign in operator_verbs.known():
        for key in (keyspace.flight_key(campaign), keyspace.unanswered_key(campaign)):
            for host, record in redis_client.client().hscan_iter(key, count=2000):
                _, delivered_at, _, further_at = record.split()
                if further_at == b"0":
                    yield int(host), clock.moment(delivered_at)


def carry_doubts() -> None:
    """Mark the hosts whose key is used by a second machine; a mark that stands keeps its time and reason."""
    now = timezone.now()
    for host, reason in heartbeats.take_doubts().items():
        marked = Host.objects.filter(pk=host, in_doubt_since=None).update(in_doubt_since=now, in_doubt_reason=reason)
        if marked:
            logger.warning("identity in doubt host=%s reason=%s", host, reason)


def _write(batch: Iterable[tuple[int, int]]) -> int:
    latest = dict(sorted(batch))  # a host may be named twice
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CARRY, [_array(latest), _array(latest.values())])
        return int(cursor.rowcount)


def _array(numbers: Iterable[int]) -> str:
    """Write an array as PostgreSQL does: it reads one text much faster than the driver's list of numbers."""
    return f"{{{','.join(map(str, numbers))}}}"
