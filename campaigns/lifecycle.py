"""What operators do with campaigns: estimate, launch and stop."""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agents import sql
from agents.models import HostQuerySet
from campaigns import doorbell, support
from campaigns.ending import close_on_board
from campaigns.models import Campaign, IdempotencyKey, Query, TargetRange
from campaigns.selection import Selection, sql_of
from fleet.errors import BadInputError, ConflictError, ForbiddenError
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

SHORTEST_TIMEOUT, DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 10, 600, 2_592_000  # seconds; 30 days
KEY_LIFETIME = timedelta(hours=24)

# The selected hosts' query is the ORM's own and stands in for {}.
COUNT_MEANT = """
SELECT platform, count(*), count(*) FILTER (WHERE last_seen >= %s), count(*) FILTER (WHERE last_seen >= %s)
FROM ({}) AS meant (id, platform, last_seen) GROUP BY 1 ORDER BY 2 DESC
"""


@dataclass(frozen=True)
class Order:
    """What a person asks for. `query` is the saved query the SQL was taken from, if it was."""

    sql: str
    target: Any
    timeout: int = DEFAULT_TIMEOUT
    name: str = ""
    reason: str = ""
    query: Query | None = None

    def digest(self) -> str:
        """Give what tells two orders apart."""
        parts = [self.sql, self.target, self.timeout, self.name, self.reason, self.query and self.query.pk]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def launch(order: Order, by: User) -> Campaign:
    """Check the order, freeze who is meant range by range, and start. Raise BadInputError, nothing half-done."""
    _refuse_when_disabled()
    if not SHORTEST_TIMEOUT <= order.timeout <= LONGEST_TIMEOUT:
        bound = (
            "below the minimum of 10 seconds" if order.timeout < SHORTEST_TIMEOUT else "above the maximum of 30 days"
        )
        raise BadInputError(f"timeout {order.timeout} is {bound}", "timeout")
    text = _allowed(sql.check(order.sql, settings.RESTRICTED_TABLES), by)
    selection = Selection.read(order.target)
    warnings = selection.check_names()
    hosts = selection.hosts(timezone.now())
    ranges = ranges_of(hosts)
    if not ranges:
        raise BadInputError(f"target {json.dumps(order.target)} selects no enrolled host", "target")
    unsupported = support.unsupported(text, hosts)
    with transaction.atomic():
        campaign = Campaign.objects.create(
            name=order.name,
            sql=text,
            query=order.query,
            target=order.target,
            timeout=order.timeout,
            reason=order.reason,
            warnings=warnings,
            unsupported=unsupported,
            created_by=by,
            expected=sum(ranges.values()),
        )
        TargetRange.objects.bulk_create(TargetRange(campaign=campaign, number=number) for number in ranges)
        for number in ranges:
            enqueue("campaigns.write_range", campaign.pk, number)
    logger.info("campaign launched campaign=%s by=%s expected=%s", campaign.pk, by.pk, campaign.expected)
    return campaign


def _allowed(checked: sql.Checked, by: User) -> str:
    if checked.restricted and not by.has_perm("campaigns.launch_restricted"):
        reasons = "; ".join(checked.restricted)
        raise ForbiddenError(f"{reasons}: launching it needs the permission campaigns.launch_restricted", "sql")
    return checked.text


def launch_once(order: Order, by: User, key: str) -> tuple[Campaign, bool]:
    """Launch under an idempotency key; give the campaign and whether it is new.

    The same key and person within 24 hours gives the first campaign. Raise ConflictError when the order is another.
    """
    with transaction.atomic():
        _lock_key(by, key)
        earlier = IdempotencyKey.objects.filter(user=by, key=key).select_related("campaign").first()
        if earlier is not None and earlier.created_at > timezone.now() - KEY_LIFETIME:
            if earlier.body_digest != order.digest():
                raise ConflictError(
                    f"Idempotency-Key {key!r} was used for another launch, campaign {earlier.campaign_id}"
                )
            return earlier.campaign, False
        campaign = launch(order, by)
        IdempotencyKey.objects.update_or_create(
            user=by,
            key=key,
            defaults={"body_digest": order.digest(), "campaign": campaign, "created_at": timezone.now()},
        )
    return campaign, True


def _lock_key(by: User, key: str) -> None:
    """Let launches under the same key wait for each other until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [key, by.pk])


def _refuse_when_disabled() -> None:
    if not settings.LIVE_QUERIES_ENABLED:
        raise ConflictError("live queries are switched off on this server (LIVE_QUERIES_ENABLED)")


def ranges_of(hosts: HostQuerySet) -> dict[int, int]:
    """Count the hosts by range of ids."""
    text, params = sql_of(hosts, "pk")
    with connection.cursor() as cursor:
        # The query is the ORM's own; its values travel as parameters.
        cursor.execute(f"SELECT id >> 16, count(*) FROM ({text}) AS meant (id) GROUP BY 1 ORDER BY 1", params)  # noqa: S608
        return dict(cursor.fetchall())


def estimate(target: Any) -> dict[str, Any]:
    """Count who a selection means now: all, online, seen within a day, by platform. Raise BadInputError."""
    selection = Selection.read(target)
    warnings = selection.check_names()
    now = timezone.now()
    text, params = sql_of(selection.hosts(now), "pk", "platform", "presence__last_seen")
    with connection.cursor() as cursor:
        cursor.execute(
            COUNT_MEANT.format(text),
            [now - timedelta(seconds=settings.ONLINE_SECONDS), now - timedelta(days=1), *params],
        )
        rows = cursor.fetchall()
    return {
        "targeted": sum(row[1] for row in rows),
        "online": sum(row[2] for row in rows),
        "seen_last_day": sum(row[3] for row in rows),
        "platforms": {row[0]: row[1] for row in rows},
        "cost": None,
        "warnings": warnings,
    }


def stop(campaign_id: int, by: str, reason: str) -> Campaign:
    """Hand the campaign out no more, at once; the sweep writes the final states when all answers are stored.

    Stopping twice is stopping once. Raise ConflictError when it is over.
    """
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id])[campaign_id]
        if campaign.is_over:
            raise ConflictError(f"campaign {campaign_id} is {campaign.status} already")
        if not campaign.ended_by:
            campaign.ended_by, campaign.ended_reason = by, reason
            campaign.save(update_fields=["ended_by", "ended_reason"])
            close_on_board(campaign)
            doorbell.ring(campaign_id)
            logger.info("campaign stopping campaign=%s by=%s", campaign_id, by)
    return campaign
