"""What operators do with campaigns: launch and stop."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board import operator_verbs
from agents.board.copy import bitmap_of
from agents.board.keyspace import seat_of
from agents.inventory import sql
from agents.models import HostQuerySet
from campaigns import doorbell
from campaigns.answers import audit
from campaigns.launching import estimates, kill_switch, quotas
from campaigns.models import OVER, Campaign, IdempotencyKey, Query, Status, TargetRange
from campaigns.running import rollout
from campaigns.running.ending import close_on_board
from campaigns.running.rollout import Rollout
from campaigns.selecting import sql_support
from campaigns.selecting.selection import Selection, sql_of
from fleet.errors import BadInputError, ConflictError, FleetError, ForbiddenError, UnavailableError
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

SHORTEST_TIMEOUT, DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 10, 600, 2_592_000  # seconds; 30 days
LATEST_START = timedelta(days=366)
KEY_LIFETIME = timedelta(hours=24)


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

    def digest(self) -> str:
        """Give what tells two orders apart. Of a saved query only which one it is: its SQL may be edited meanwhile."""
        said = self.query.pk if self.query else self.sql
        parts = [said, self.target, self.timeout, self.name, self.reason]
        parts += [self.answer_within, self.start_at and self.start_at.isoformat(), self.rollout]
        parts += [self.include_late_joiners]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def estimate(order: Order, by: User) -> dict[str, Any]:
    """Say what a launch would mean; its SQL may be "" = not known yet. Raise BadInputError as the launch would."""
    _check_shape(order)
    return estimates.estimate(order.target, by, order.sql)


def launch(order: Order, by: User) -> Campaign:
    """Check the order, freeze who is meant range by range, and start. Raise BadInputError, nothing half-done."""
    kill_switch.refuse_when_off()
    _check_shape(order)
    text = _allowed(sql.check(order.sql, settings.RESTRICTED_TABLES), by)
    selection = Selection.read(order.target)
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
    sql_support.unsupported(campaign.sql, hosts)
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
    campaign.unsupported = refused = sql_support.unsupported(campaign.sql, hosts)
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
            _stop_scheduled(campaign, "schedule", error.sentence)
        doorbell.ring(campaign_id)


def _stop_scheduled(campaign: Campaign, by: str, reason: str) -> None:
    """End a campaign that never began: it has no targets and was never on the board."""
    campaign.status, campaign.ended_at = Status.STOPPED, operator_verbs.now()
    campaign.ended_by, campaign.ended_reason = by, reason
    campaign.closed_at, campaign.closed_entry = campaign.ended_at, "0-0"
    campaign.save()


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


def ranges_of(hosts: HostQuerySet) -> dict[int, list[int]]:
    """Name the hosts by range of ids."""
    text, params = sql_of(hosts, "pk")
    with connection.cursor() as cursor:
        # The query is the ORM's own; its values travel as parameters.
        cursor.execute(f"SELECT id >> 16, array_agg(id) FROM ({text}) AS meant (id) GROUP BY 1 ORDER BY 1", params)  # noqa: S608
        return dict(cursor.fetchall())


def stop(campaign_id: int, by: str, reason: str) -> Campaign:
    """Hand the campaign out no more, at once; the sweep writes the final states when all answers are stored.

    Stopping twice is stopping once. Raise ConflictError when it is over.
    """
    with transaction.atomic():
        campaign = _open(campaign_id)
        if campaign.status == Status.SCHEDULED:
            _stop_scheduled(campaign, by, reason)
        elif not campaign.ended_by:
            campaign.ended_by, campaign.ended_reason = by, reason
            campaign.save(update_fields=["ended_by", "ended_reason"])
            close_on_board(campaign)
        doorbell.ring(campaign_id)
    logger.info("campaign stopping campaign=%s by=%s", campaign_id, by)
    return campaign


def pause(campaign_id: int, by: str, reason: str = "") -> Campaign:
    """Hand the campaign out no more until it is resumed; paused time does not count. Raise ConflictError."""
    with transaction.atomic():
        campaign = _open(campaign_id)
        if campaign.status != Status.RUNNING or campaign.ended_by:
            raise ConflictError(f"campaign {campaign_id} is {_state_of(campaign)}: only a running one can be paused")
        with _board_needed():
            rollout.hold(campaign, by, reason or f"paused by {by}")
    return campaign


def resume(campaign_id: int, by: str) -> Campaign:
    """Go on handing a paused campaign out: it ends after the time that was left. Raise ConflictError."""
    with transaction.atomic():
        campaign = _open(campaign_id)
        if campaign.status != Status.PAUSED or campaign.ended_by:
            raise ConflictError(f"campaign {campaign_id} is {_state_of(campaign)}: only a paused one can be resumed")
        if campaign.paused_by == rollout.ASKS:
            raise ConflictError(f"campaign {campaign_id} waits since its first hosts were asked: widen it, or stop")
        kill_switch.refuse_when_off()
        with _board_needed():
            rollout.go_on(campaign)
    logger.info("campaign resumed campaign=%s by=%s", campaign_id, by)
    return campaign


def widen(campaign_id: int, by: str, wanted: Any) -> Campaign:
    """Let more hosts be asked, as many in all as `wanted` says; a campaign that paused to ask for it goes on.

    The sweep releases them within a second, as fast as the order allows. Raise ConflictError or BadInputError.
    """
    with transaction.atomic():
        campaign = _open(campaign_id)
        if campaign.status not in (Status.RUNNING, Status.PAUSED) or campaign.ended_by:
            raise ConflictError(f"campaign {campaign_id} is {_state_of(campaign)}: it cannot be widened")
        goal = operator_verbs.RELEASED_ALL if campaign.rollout is None else campaign.release_goal or 0
        if operator_verbs.RELEASED_ALL in (goal, campaign.released):
            raise ConflictError(f"campaign {campaign_id} is released to all {campaign.able_targets} hosts already")
        many = rollout.wanted_hosts(wanted, campaign.able_targets)
        if many <= goal:
            raise BadInputError(f"{many} hosts is not more than the {goal} it is released to", next(iter(wanted)))
        rollout.raise_goal(campaign, many, step=max(0, min(many, campaign.able_targets) - goal))
        if campaign.status == Status.PAUSED and campaign.paused_by == rollout.ASKS:
            with _board_needed():
                rollout.go_on(campaign)
    logger.info("campaign widened campaign=%s by=%s to=%s", campaign_id, by, many)
    return campaign


def disable_live_queries(by: User, reason: str = "") -> int:
    """Hand out nothing any more and stop every campaign; give how many. What waits for Redis the sweep stops."""
    kill_switch.turn(by, reason, on=False)
    return stop_all(by.get_username())


def stop_all(by: str) -> int:
    """Stop every campaign because live queries are off; give how many."""
    reason, stopped = kill_switch.sentence(), 0
    if not reason:
        return 0  # they were switched on again meanwhile
    for campaign_id in Campaign.objects.exclude(status__in=OVER).filter(ended_by="").values_list("pk", flat=True):
        with suppress(ConflictError, RedisError):  # it was over before its turn came, or has a later turn
            stop(campaign_id, by, reason)
            stopped += 1
    return stopped


def enable_live_queries(by: User) -> None:
    """Let campaigns be launched again; those that were stopped stay so."""
    kill_switch.turn(by, "", on=True)


def _open(campaign_id: int) -> Campaign:
    """Lock a campaign that is not over. Raise ConflictError."""
    campaign = Campaign.objects.locked([campaign_id])[campaign_id]
    if campaign.is_over:
        raise ConflictError(f"campaign {campaign_id} is {campaign.status} already")
    return campaign


def _state_of(campaign: Campaign) -> str:
    return "being stopped" if campaign.ended_by else campaign.status


@contextmanager
def _board_needed() -> Iterator[None]:
    """Turn a board that is away into a sentence: then nothing is handed out anyway."""
    try:
        yield
    except (operator_verbs.NoBoardError, RedisError) as error:
        raise UnavailableError("the board cannot be reached, so nothing is handed out; try again soon") from error
