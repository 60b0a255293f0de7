"""Carry when hosts last asked from the board to Postgres, where selections, estimates and lists use it."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from django.db import connection, transaction

from agents import open_work

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
    told = iter(open_work.all_last_reads())
    while batch := list(islice(told, HOSTS_A_STATEMENT)):
        changed += _write(batch)
    open_work.forget_silent_gateways()
    return changed


def _write(batch: Iterable[tuple[int, datetime]]) -> int:
    latest = dict(sorted(batch))  # a scan may name a host twice
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CARRY, [list(latest), list(latest.values())])
        return int(cursor.rowcount)
