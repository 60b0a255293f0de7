"""The second person: a launch that a rule catches waits, with its hosts frozen, for somebody else's yes.

The yes is bound by a digest to the exact SQL, the frozen hosts and the limits; what differs at the start voids it.
Every verb takes the campaign's lock and looks again, so that two people, the clock, a stop and the kill switch come to
one outcome, and everybody else hears which.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agents.board import clock
from agents.models import HostQuerySet
from campaigns import doorbell
from campaigns.answers import audit
from campaigns.answers.models import AuditRecord
from campaigns.launching import freezing, kill_switch, rights
from campaigns.launching.approval_rules import Caught, most_hosts_of
from campaigns.launching.control import stop_scheduled
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import APPROVE
from campaigns.selecting import frozen, sql_support
from campaigns.states import Status, WaitsFor
from fleet import traces
from fleet.audit import note
from fleet.errors import BadInputError, ConflictError, FleetError, ForbiddenError

logger = logging.getLogger(__name__)

LONGEST_REASON = 2_000  # characters
LIMITS = ("timeout", "answer_within", "rollout", "include_late_joiners", "is_forced", "start_at")
MACHINE = "approval"  # what a campaign was ended by when nobody decided in time
NOBODY_JOINS = "nobody joins later: a second person approves exactly the hosts that were meant at the launch"


# --- asking ----------------------------------------------------------------------------------------------------


def ask(campaign: Campaign, ranges: freezing.Ranges, caught: Caught) -> None:
    """Freeze who is meant and let the campaign wait. The caller's transaction is the launch, or the start."""
    now = timezone.now()
    campaign.status, campaign.waits_for = Status.SCHEDULED, WaitsFor.APPROVAL
    freezing.freeze(campaign, ranges)
    # What a launch refuses is refused before somebody is asked: SQL that is wrong on every host, say.
    campaign.warnings += sql_support.support(campaign.sql, _meant(campaign), forced=campaign.is_forced).warnings
    if campaign.include_late_joiners:
        campaign.warnings.append(NOBODY_JOINS)
    campaign.save(update_fields=["warnings"])
    Approval.objects.create(
        campaign=campaign,
        why=caught.why,
        digest=digest_of(campaign),
        asked_at=now,
        wait=caught.wait,
        expires_at=now + timedelta(seconds=caught.wait),
    )
    audit.write(campaign, AuditRecord.Stage.OPEN)  # one that was to begin later has its record
    _note(campaign, "asked", campaign.created_by, "; ".join(caught.why))
    logger.info("approval asked for campaign=%s why=%s", campaign.pk, "; ".join(caught.why))


def digest_of(campaign: Campaign) -> str:
    """Give what the yes is bound to: SQL, frozen hosts, limits, and who asks."""
    limits = {name: getattr(campaign, name) for name in LIMITS}
    if campaign.start_at is not None:
        limits["start_at"] = campaign.start_at.astimezone(timezone.get_default_timezone()).isoformat()
    hosts = [
        (number, hashlib.sha256(bitmap or b"").hexdigest())
        for number, bitmap in campaign.ranges.order_by("number").values_list("number", "hosts")
    ]
    bound = [campaign.sql, campaign.created_by_id, limits, hosts]
    return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()


# --- deciding --------------------------------------------------------------------------------------------------


def approve(campaign_id: int, by: User, seen: str = "") -> Campaign:
    """Say yes: the campaign begins at once, or at its time. `seen` is the digest of what was looked at, if known.

    Raise ForbiddenError, ConflictError when it was decided, expired or changed.
    """
    with _waiting(campaign_id, by, "approved") as (campaign, approval, now):
        kill_switch.refuse_when_off()
        check_may_decide(campaign, by)
        if seen and seen != approval.digest:
            raise ConflictError(f"campaign {campaign_id} is not what you looked at: look at it again")
        _check_asker(campaign)
        approval.good_until = approval.good_for(now, campaign.start_at)
        approval.decide(Approval.State.APPROVED, by, now)
        _note(campaign, "approved", by)
        campaign.waits_for = ""
        campaign.save(update_fields=["waits_for"])
        if campaign.start_at is None or campaign.start_at <= now:
            begin_approved(campaign, approval)
    return campaign


def _check_asker(campaign: Campaign) -> None:
    try:
        rights.check_start(campaign, _meant(campaign))
    except FleetError as error:
        raise ConflictError(f"campaign {campaign.pk} cannot begin: {error.sentence}") from error


def reject(campaign_id: int, by: User, reason: Any) -> Campaign:
    """Say no, with a reason: the campaign is stopped. Raise BadInputError, ForbiddenError or ConflictError."""
    reason = _reason(reason)
    with _waiting(campaign_id, by, "rejected") as (campaign, approval, now):
        check_may_decide(campaign, by)
        approval.decide(Approval.State.REJECTED, by, now, reason)
        _note(campaign, "rejected", by, reason)
        stop_scheduled(campaign, by.get_username(), f"rejected: {reason}")
    return campaign


def withdraw(campaign_id: int, by: User) -> Campaign:
    """Take back, until the start: the approver the yes, so that it waits again; who asked the whole launch.

    Raise ForbiddenError or ConflictError.
    """
    with _open(campaign_id) as (campaign, approval, now):
        if campaign.created_by_id == by.pk:
            approval.decide(Approval.State.WITHDRAWN, by, now)
            _note(campaign, "withdrawn", by, "the launch")
            stop_scheduled(campaign, by.get_username(), f"withdrawn by {by.get_username()} before it began")
        elif approval.state == Approval.State.APPROVED and approval.decided_by_id == by.pk:
            _note(campaign, "withdrawn", by, "the approval")
            _wait_again(campaign, approval, now)
        else:
            who = approval.decided_by_name if approval.state == Approval.State.APPROVED else "nobody yet"
            raise ForbiddenError(
                f"campaign {campaign_id} was asked for by {_asker(campaign)} and approved by {who}:"
                " only they can take it back"
            )
    return campaign


def _wait_again(campaign: Campaign, approval: Approval, now: datetime) -> None:
    approval.good_until = None
    approval.decide(Approval.State.WAITING, None, None)
    campaign.waits_for = WaitsFor.APPROVAL
    campaign.save(update_fields=["waits_for"])
    if approval.expires_at <= now:
        _expire(campaign, approval)


def check_may_decide(campaign: Campaign, by: User) -> None:
    """Raise ForbiddenError for who asked, who lacks the permission, and who does not see all of the frozen hosts."""
    if campaign.created_by_id == by.pk:
        raise ForbiddenError(f"campaign {campaign.pk} was launched by you: a second person has to decide")
    if not by.has_perm(APPROVE):
        raise ForbiddenError(f"approving and rejecting campaigns needs the permission {APPROVE}")
    if scopes.is_limited(by) and _meant(campaign).exclude(pk__in=scopes.hosts_for(by).values("pk")).exists():
        raise ForbiddenError(f"campaign {campaign.pk} is over hosts beyond your scope: who sees all of them decides")


def _meant(campaign: Campaign) -> HostQuerySet:
    return frozen.hosts_of(campaign.ranges.all())


def may_decide(campaign: Campaign, by: User) -> bool:
    """Say whether this person may say yes and no."""
    try:
        check_may_decide(campaign, by)
    except ForbiddenError:
        return False
    return True


def _reason(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadInputError("reason is empty: say why, so that who asked can do better", "reason")
    if len(value) > LONGEST_REASON:
        raise BadInputError(f"reason has {len(value)} characters, allowed are {LONGEST_REASON}", "reason")
    return value.strip()


# --- beginning -------------------------------------------------------------------------------------------------


def begin_approved(campaign: Campaign, approval: Approval) -> None:
    """Begin what was approved, if it is still that; else stop it. The caller holds the lock."""
    now = timezone.now()
    if digest_of(campaign) != approval.digest:
        _void(campaign, approval, "it differs from what was approved: SQL, hosts or limits changed after the approval")
    elif approval.good_until is not None and approval.good_until < now:
        _void(campaign, approval, "its approval had expired before it could begin", Approval.State.EXPIRED)
    else:
        _begin(campaign, approval)


def _begin(campaign: Campaign, approval: Approval) -> None:
    try:
        with transaction.atomic():
            rights.check_start(campaign, _meant(campaign))
            freezing.begin_frozen(campaign)
    except FleetError as error:
        campaign.refresh_from_db()
        _void(campaign, approval, error.sentence)


def _void(campaign: Campaign, approval: Approval, why: str, state: str = Approval.State.VOID) -> None:
    approval.state, approval.reason = state, why
    approval.save(update_fields=["state", "reason"])
    _note(campaign, str(state), None, why)
    stop_scheduled(campaign, MACHINE, why)


def expire(campaign_id: int) -> None:
    """Stop a campaign that nobody approved in time. Safe to run twice, and beside somebody who decides."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        approval = Approval.objects.filter(campaign_id=campaign_id).first()
        if campaign is None or approval is None or campaign.waits_for != WaitsFor.APPROVAL:
            return
        if approval.expires_at <= clock.now():
            _expire(campaign, approval)
            doorbell.ring(campaign_id)


def _expire(campaign: Campaign, approval: Approval) -> None:
    _void(campaign, approval, f"nobody approved it until {_clock(approval.expires_at)}", Approval.State.EXPIRED)


# --- late joiners ----------------------------------------------------------------------------------------------


def room_for(campaign: Campaign) -> int | None:
    """Give how many hosts may join without a second person, or beyond what was approved; None = any number."""
    if Approval.objects.filter(campaign=campaign).exists():
        return 0
    most = most_hosts_of(campaign.created_by)
    return None if most is None else max(0, most - campaign.count_targeted)


# --- looking again, under the lock -----------------------------------------------------------------------------


@contextmanager
def _open(campaign_id: int) -> Iterator[tuple[Campaign, Approval, datetime]]:
    """Hold a campaign that has not begun, with its approval. Raise ConflictError with what became of it."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id])[campaign_id]
        approval = Approval.objects.filter(campaign_id=campaign_id).first()
        if approval is None:
            raise ConflictError(f"campaign {campaign_id} needs no approval: it is {campaign.status}")
        if campaign.status != Status.SCHEDULED:
            raise ConflictError(outcome(campaign, approval))
        yield campaign, approval, timezone.now()
        doorbell.ring(campaign_id)


@contextmanager
def _waiting(campaign_id: int, by: User, doing: str) -> Iterator[tuple[Campaign, Approval, datetime]]:
    """Hold a campaign that waits for its approval. Raise ConflictError with what became of it."""
    with _open(campaign_id) as (campaign, approval, now):
        if campaign.waits_for != WaitsFor.APPROVAL:
            raise ConflictError(outcome(campaign, approval))
        if approval.expires_at <= now:
            raise ConflictError(
                f"campaign {campaign_id} can be {doing} no more: its request expired on {_clock(approval.expires_at)}"
            )
        yield campaign, approval, now
        traces.note(campaign, f"campaign {doing}")
    logger.info("campaign %s campaign=%s by=%s", doing, campaign_id, by.pk)


def outcome(campaign: Campaign, approval: Approval) -> str:
    """Say what became of a request, for who comes too late."""
    verb = approval.state if approval.state == Approval.State.EXPIRED else f"was {approval.state}"
    decided = verb + (f" by {approval.decided_by_name}" if approval.decided_by_name else "")
    if approval.state == Approval.State.APPROVED:
        return f"campaign {campaign.pk} {decided} already and is {campaign.status}"
    return f"campaign {campaign.pk} {decided}: {campaign.ended_reason}"


def _asker(campaign: Campaign) -> str:
    return campaign.created_by.get_username() if campaign.created_by else "somebody who is gone"


def _note(campaign: Campaign, what: str, by: User | None, reason: str = "") -> None:
    """Write it into the campaign's record and into the audit; None = the machine did it."""
    audit.note_decision(campaign, what, by.get_username() if by else MACHINE, reason)
    note(f"approval.{what}", by=by, subject=f"campaign {campaign.pk}", reason=reason, sql=campaign.sql)


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.get_default_timezone()):%Y-%m-%d %H:%M:%S} UTC"
