"""What operators do with campaigns: launch and stop."""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agents.board.copy import bitmap_of
from agents.board.keyspace import seat_of
from agents.inventory import installation, sql
from agents.models import HostQuerySet
from campaigns import doorbell
from campaigns.answers import audit
from campaigns.launching import estimates, kill_switch, quotas, rollout
from campaigns.launching.control import stop_scheduled
from campaigns.launching.rollout import Rollout
from campaigns.models import Campaign, IdempotencyKey, Query, TargetRange
from campaigns.selecting import sql_support
from campaigns.selecting.selection import Selection, sql_of
from campaigns.states import Status
from fleet.errors import BadInputError, ConflictError, FleetError, ForbiddenError
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

SHORTEST_TIMEOUT, DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 10, 600, 2_592_000  # seconds; 30 days
LONGEST_REASON = 2_000  # characters
LATEST_START = timedelta(days=366)


@dataclass(frozen=True)
class Order:
    """What a person asks for. `query` is the saved query the SQL was taken from, if it was."""

    sql: str
    target: Any
    timeout: int = DEFAULT_TIMEOUT
    name: str = ""
    reason: str = ""
    query: Query | None = None
    answer_within: int | None = None
    start_at: datetime | None = None
    rollout: Any = None
    include_late_joiners: bool = False
    force: bool = False  # ask hosts whose learned tables speak against the SQL as well

    def digest(self) -> str:
        """Give what tells two orders apart. Of a saved query only which one it is: its SQL may be edited meanwhile."""
        question = self.query.pk if self.query else self.sql
        parts = [question, self.target, self.timeout, self.name, self.reason]
        parts += [self.answer_within, self.start_at and self.start_at.isoformat(), self.rollout]
        parts += [self.include_late_joiners, *(["force"] if self.force else [])]  # as it was before there was force
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def estimate(order: Order, by: User) -> dict[str, Any]:
    """Say what a launch would mean; its SQL may be "" = not known yet. Raise BadInputError as the launch would."""
    _check_shape(order)
    return estimates.estimate(order.target, by, order.sql, forced=order.force)


def launch(order: Order, by: User) -> Campaign:
    """Check the order, freeze who is meant range by range, and start. Raise BadInputError, nothing half-done."""
    kill_switch.refuse_when_off()
    installation.refuse_when_moved()
    _check_shape(order)
    text = _allowed(sql.check(order.sql, settings.RESTRICTED_TABLES), by)
    selection = Selection.read(order.target)
    selection.check_rights(by)
    campaign = Campaign(
        name=order.name,
        sql=text,
        query=order.query,
        target=order.target,
        timeout=order.timeout,
        answer_within=order.answer_within,
        reason=order.reason,
        start_at=order.start_at,
        rollout=order.rollout,
        include_late_joiners=order.include_late_joiners,
        is_forced=order.force,
        warnings=selection.check_names(),
        created_by=by,
    )
    with transaction.atomic():
        quotas.check_person(by)
        if order.start_at is None:
            _freeze(campaign, selection)
        else:
            _schedule(campaign, selection)
        audit.begin(campaign)
    logger.info("campaign launched campaign=%s by=%s expected=%s", campaign.pk, by.pk, campaign.expected)
    return campaign


def _check_shape(order: Order) -> None:
    _check_times(order)
    if len(order.reason) > LONGEST_REASON:
        raise BadInputError(f"reason has {len(order.reason)} characters, allowed are {LONGEST_REASON}", "reason")
    Rollout.read(order.rollout)


def _check_times(order: Order) -> None:
    for name, seconds in (("timeout", order.timeout), ("answer_within", order.answer_within)):
        if seconds is None:
            continue
        if seconds < SHORTEST_TIMEOUT:
            raise BadInputError(f"{name} {seconds} is below the minimum of 10 seconds", name)
        if seconds > LONGEST_TIMEOUT:
            raise BadInputError(f"{name} {seconds} is above the maximum of 30 days", name)
    if order.start_at is not None:
        now = timezone.now()
        if order.start_at <= now:
            raise BadInputError(f"start_at {order.start_at.isoformat()} is in the past", "start_at")
        if order.start_at > now + LATEST_START:
            raise BadInputError(f"start_at {order.start_at.isoformat()} is more than a year ahead", "start_at")


def _schedule(campaign: Campaign, selection: Selection) -> None:
    """Save a campaign that begins later, after all checks that can be made now; a label may be filled until then."""
    if _is_nobody(selection):
        raise BadInputError(f"target {json.dumps(campaign.target)} can never select a host", "target")
    hosts = selection.hosts(timezone.now())
    campaign.warnings += sql_support.support(campaign.sql, hosts, forced=campaign.is_forced).warnings
    campaign.status = Status.SCHEDULED
    campaign.expected = hosts.count()
    if campaign.created_by is not None:
        quotas.check_targets(campaign.created_by, campaign.expected)
    campaign.save()


def _is_nobody(selection: Selection) -> bool:
    """Say whether no host can ever be meant, whoever enrolls and whatever labels they bear: all lists are empty."""
    group = (selection.labels is not None or selection.platforms is not None) and [] not in (
        selection.labels,
        selection.platforms,
    )
    earlier = selection.earlier is not None and selection.earlier.states != ()
    return not (selection.everybody or group or selection.host_ids or selection.host_names or earlier)


def _freeze(campaign: Campaign, selection: Selection) -> None:
    """Save the campaign over who is meant now, and enqueue its ranges. Raise BadInputError or ForbiddenError."""
    hosts = selection.hosts(campaign.chosen_at)
    ranges = ranges_of(hosts)
    if not ranges:
        raise BadInputError(f"target {json.dumps(campaign.target)} selects no enrolled host", "target")
    refused, warnings = sql_support.support(campaign.sql, hosts, forced=campaign.is_forced)
    campaign.unsupported = refused
    campaign.warnings += warnings
    campaign.goes_alone = estimates.goes_alone(campaign.sql)
    campaign.expected = sum(map(len, ranges.values()))
    if campaign.created_by is not None:
        quotas.check_targets(campaign.created_by, campaign.expected)
    campaign.status = Status.TARGETING
    rollout.begin(campaign, sql_support.able(hosts, refused))
    campaign.save()
    TargetRange.objects.bulk_create(
        TargetRange(campaign=campaign, number=number, hosts=bitmap_of(seat_of(host).bit for host in ids))
        for number, ids in ranges.items()
    )
    for number in ranges:
        enqueue("campaigns.write_range", campaign.pk, number)


def start(campaign_id: int) -> None:
    """Start a scheduled campaign whose time came. Who is meant is frozen now; nobody: it is stopped and says so."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status != Status.SCHEDULED:
            return
        try:
            selection = Selection.read(campaign.target)
            campaign.warnings = selection.check_names()
            _freeze(campaign, selection)
        except FleetError as error:
            stop_scheduled(campaign, "schedule", error.sentence)
        doorbell.ring(campaign_id)


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
        if earlier is not None and earlier.created_at > timezone.now() - IdempotencyKey.LIFETIME:
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


def ranges_of(hosts: HostQuerySet) -> dict[int, list[int]]:
    """Name the hosts by range of ids."""
    text, params = sql_of(hosts, "pk")
    with connection.cursor() as cursor:
        # The query is the ORM's own; its values travel as parameters.
        cursor.execute(f"SELECT id >> 16, array_agg(id) FROM ({text}) AS meant (id) GROUP BY 1 ORDER BY 1", params)  # noqa: S608
        return dict(cursor.fetchall())
