"""Launch: check what is ordered, freeze who is meant, and begin at once, later, or after a second person's yes."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agents.inventory import installation
from agents.models import HostQuerySet
from campaigns import doorbell
from campaigns.answers import audit
from campaigns.answers.results import timestamp
from campaigns.launching import approval_rules, approvals, estimates, freezing, kill_switch, quotas, rights
from campaigns.launching.control import stop_scheduled
from campaigns.launching.models import Approval
from campaigns.launching.once import digest_of
from campaigns.launching.rollout import Rollout
from campaigns.models import Campaign, Query
from campaigns.people import scopes
from campaigns.selecting import sql_support
from campaigns.selecting.selection import Selection
from campaigns.states import Status
from fleet import traces
from fleet.audit import note
from fleet.errors import BadInputError, FleetError

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
        return digest_of(parts)


def estimate(order: Order, by: User) -> dict[str, Any]:
    """Say what a launch would mean; its SQL may be "" = not known yet. Raise BadInputError as the launch would."""
    _check_shape(order)
    found = estimates.estimate(order.target, by, order.sql, forced=order.force, start_at=order.start_at)
    standings = [{**standing, "frees_at": timestamp(standing["frees_at"])} for standing in found["quotas"]]
    return {**found, "quotas": standings}


def launch(order: Order, by: User) -> Campaign:
    """Check the order, freeze who is meant range by range, and start. Raise BadInputError, nothing half-done."""
    began = time.time()
    kill_switch.refuse_when_off()
    installation.refuse_when_moved()
    _check_shape(order)
    text = rights.checked_sql(order.sql, by)
    limits = scopes.limits_of(by)
    selection = Selection.read(order.target, limits)
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
        scope=scopes.as_json(limits),
    )
    with transaction.atomic():
        quotas.check_person(by)
        _place(campaign, selection, by)
        if not campaign.waits_for:  # what waits has begun its record with the question
            audit.begin(campaign)
        _note(campaign, by)
        traces.note(campaign, "campaign launched", began, expected=campaign.expected)
    logger.info("campaign launched campaign=%s by=%s expected=%s", campaign.pk, by.pk, campaign.expected)
    return campaign


def _note(campaign: Campaign, by: User) -> None:
    asked = ("name", "sql", "target", "reason", "timeout", "answer_within", "start_at", "rollout", "is_forced")
    order = {name: getattr(campaign, name) for name in (*asked, "include_late_joiners", "expected", "query_id")}
    note("campaign.launched", by=by, subject=f"campaign {campaign.pk}", status=str(campaign.status), **order)


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


def _place(campaign: Campaign, selection: Selection, by: User) -> None:
    """Save the campaign: to begin at once, to begin later, or to wait for a second person."""
    now = timezone.now()
    ranges = freezing.ranges_of(selection.hosts(now))
    if campaign.start_at is None and not ranges:
        raise BadInputError(f"target {json.dumps(campaign.target)} selects no enrolled host", "target")
    if campaign.start_at is not None and _is_nobody(selection):
        raise BadInputError(f"target {json.dumps(campaign.target)} can never select a host", "target")
    campaign.expected = sum(map(len, ranges.values()))
    quotas.check_targets(by, campaign.expected, campaign.start_at)
    if campaign.start_at is None:
        _begin_or_ask(campaign, ranges, (now,))
    elif not (ranges and _asked_for_approval(campaign, ranges, (now, campaign.start_at))):
        _schedule(campaign, selection.hosts(now))


def _begin_or_ask(campaign: Campaign, ranges: freezing.Ranges, moments: Sequence[datetime]) -> None:
    if not _asked_for_approval(campaign, ranges, moments):
        freezing.begin(campaign, ranges)


def _asked_for_approval(campaign: Campaign, ranges: freezing.Ranges, moments: Sequence[datetime]) -> bool:
    """Let the campaign wait for a second person when a rule catches it; say whether one does."""
    caught = approval_rules.catch(campaign.created_by, campaign.sql, sum(map(len, ranges.values())), moments)
    if caught is None:
        return False
    approvals.ask(campaign, ranges, caught)
    return True


def _schedule(campaign: Campaign, hosts: HostQuerySet) -> None:
    """Save a campaign that begins later, after all checks that can be made now; a label may be filled until then."""
    campaign.warnings += sql_support.support(campaign.sql, hosts, forced=campaign.is_forced).warnings
    campaign.status = Status.SCHEDULED
    campaign.save()


def _is_nobody(selection: Selection) -> bool:
    """Say whether no host can ever be meant, whoever enrolls and whatever labels they bear: all lists are empty."""
    group = (selection.labels is not None or selection.platforms is not None) and [] not in (
        selection.labels,
        selection.platforms,
    )
    earlier = selection.earlier is not None and selection.earlier.states != ()
    return not (selection.everybody or group or selection.host_ids or selection.host_names or earlier)


def start(campaign_id: int) -> None:
    """Start a scheduled campaign whose time came: over the hosts that were approved, or those that are meant now.

    A rule may catch it only now, since more are meant; then it waits for a second person. Nobody is meant: it is
    stopped and says so.
    """
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status != Status.SCHEDULED or campaign.waits_for:
            return
        approval = Approval.objects.filter(campaign=campaign).first()
        if approval is not None:
            approvals.begin_approved(campaign, approval)
        else:
            _start_unapproved(campaign)
        doorbell.ring(campaign_id)


def _start_unapproved(campaign: Campaign) -> None:
    try:
        with transaction.atomic():
            selection = Selection.read(campaign.target, scopes.limits_of_launch(campaign.scope, campaign.created_by))
            campaign.warnings = selection.check_names()
            hosts = selection.hosts(campaign.chosen_at)
            rights.check_start(campaign, hosts)
            ranges = freezing.ranges_of(hosts)
            _check_start(campaign, ranges)
            _begin_or_ask(campaign, ranges, (timezone.now(),))
    except FleetError as error:
        stop_scheduled(campaign, "schedule", error.sentence)


def _check_start(campaign: Campaign, ranges: freezing.Ranges) -> None:
    """Raise BadInputError when nobody is meant, ForbiddenError when more are than who launched may ask."""
    if not ranges:
        raise BadInputError(f"target {json.dumps(campaign.target)} selects no enrolled host", "target")
    if campaign.created_by is not None:
        quotas.lock(campaign.created_by)
        quotas.check_targets(campaign.created_by, sum(map(len, ranges.values())), but=campaign.pk)
