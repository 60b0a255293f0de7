"""Carry when hosts last asked from the board to Postgres, where selections, estimates and lists use it."""

import logging
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from django.db import connection, transaction
from django.utils import timezone

from agents import told
from agents.models import Host

logger = logging.getLogger(__name__)

HOSTS_A_STATEMENT = 10_000

# Hosts that are not in the table (enrolled in another life of the database) are left out.
CARRY = """
INSERT INTO agents_presence (host_id, last_seen)
SELECT host_id, last_seen FROM unnest(%s::bigint[], %s::timestamptz[]) AS told (host_id, last_seen)
WHERE EXISTS (SELECT FROM agents_host WHERE agents_host.id = told.host_id)
ON CONFLICT (host_id) DO UPDATE SET last_seen = excluded.last_seen
WHERE agents_presence.last_seen < excluded.last_seen
"""


def carry() -> int:
    """Bring the presence table up to date; give how many rows changed. Running twice changes nothing more."""
    changed = 0
    reads = iter(told.all_last_reads())
    while batch := list(islice(reads, HOSTS_A_STATEMENT)):
        changed += _write(batch)
    told.forget_silent_gateways()
    carry_doubts()
    return changed


def carry_doubts() -> None:
    """Mark the hosts whose key is used by a second machine; a mark that stands keeps its time and reason."""
    now = timezone.now()
    for host, reason in told.take_doubts().items():
        marked = Host.objects.filter(pk=host, in_doubt_since=None).update(in_doubt_since=now, in_doubt_reason=reason)
        if marked:
            logger.warning("identity in doubt host=%s reason=%s", host, reason)


def _write(batch: Iterable[tuple[int, datetime]]) -> int:
    latest = dict(sorted(batch))  # a scan may name a host twice
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CARRY, [list(latest), list(latest.values())])
        return int(cursor.rowcount)
