"""What operators do to a campaign that was launched: stop, pause, resume, widen; and all of them at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from redis.exceptions import RedisError

from agents.board import clock, operator_verbs
from agents.board.keyspace import NoBoardError
from campaigns import doorbell
from campaigns.launching import kill_switch, rollout
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from campaigns.states import OVER, Status
from fleet import traces
from fleet.audit import note
from fleet.counting import counted
from fleet.database import locks
from fleet.errors import BadInputError, ConflictError, UnavailableError
from fleet.outages import is_in_the_way

logger = logging.getLogger(__name__)

HELD_SECONDS = 5  # longer than anybody who is alive holds a campaign's lock


def close_on_board(campaign: Campaign, at: datetime | None = None) -> bool:
    """Take the first of the two steps of ending; give whether it was taken. The caller holds the campaign's lock.

    When the board is away nothing is handed out either; the sweep closes it again as soon as it is back.
    """
    try:
        closed = operator_verbs.close(campaign.pk, [number for (number,) in campaign.ranges.values_list("number")], at)
    except (NoBoardError, RedisError) as error:
        logger.warning("campaign not closed yet campaign=%s reason=%s", campaign.pk, error)
        return False
    campaign.closed_at = min(closed.at, campaign.closed_at or closed.at)
    campaign.closed_entry = closed.entry
    campaign.save(update_fields=["closed_at", "closed_entry"])
    return True


def hold(campaign: Campaign, by: str, reason: str) -> None:
    """Pause a running campaign, on the board first. The caller holds the lock. Raise NoBoardError or RedisError."""
    ranges = list(campaign.ranges.values_list("number", flat=True))
    left = operator_verbs.pause(campaign.pk, ranges)
    if left is None:
        return
    campaign.status, campaign.ends_at, campaign.left = Status.PAUSED, None, left
    campaign.paused_by, campaign.paused_reason = by, reason
    campaign.save(update_fields=["status", "ends_at", "left", "paused_by", "paused_reason"])
    doorbell.ring(campaign.pk)
    traces.note(campaign, "campaign paused")
    logger.info("campaign paused campaign=%s by=%s", campaign.pk, by)


def go_on(campaign: Campaign) -> None:
    """Resume a paused campaign. The caller holds the lock. Raise NoBoardError or RedisError."""
    ends_at = operator_verbs.resume(campaign.pk, list(campaign.ranges.values_list("number", flat=True)))
    if ends_at is None:
        return
    campaign.status, campaign.ends_at = Status.RUNNING, ends_at
    campaign.save(update_fields=["status", "ends_at", *campaign.forget_pause()])
    doorbell.ring(campaign.pk)
    traces.note(campaign, "campaign resumed")
    logger.info("campaign resumed campaign=%s", campaign.pk)


def stop_scheduled(campaign: Campaign, by: str, reason: str) -> None:
    """End a campaign that never began: it has no targets and was never on the board. Nobody can approve it any more."""
    campaign.status, campaign.waits_for, campaign.ended_at = Status.STOPPED, "", clock.now()
    campaign.ended_by, campaign.ended_reason = by, reason
    campaign.closed_at, campaign.closed_entry = campaign.ended_at, "0-0"
    campaign.save()
    Approval.objects.filter(campaign=campaign, state__in=Approval.OPEN).update(state=Approval.State.STOPPED)


def stop(campaign_id: int, by: str, reason: str) -> Campaign:
    """Hand the campaign out no more, at once; the sweep writes the final states when all answers are stored.

    Stopping twice is stopping once. Raise ConflictError when it is over.
    """
    with transaction.atomic():
        campaign = _open(campaign_id)
        was_stopped = bool(campaign.ended_by)
        if campaign.status == Status.SCHEDULED:
            stop_scheduled(campaign, by, reason)
        elif not campaign.ended_by:
            campaign.ended_by, campaign.ended_reason = by, reason
            campaign.save(update_fields=["ended_by", "ended_reason"])
            close_on_board(campaign)
        if not was_stopped:
            note("campaign.stopped", who=by, subject=f"campaign {campaign_id}", reason=reason)
        traces.note(campaign, "campaign stopping")
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
            hold(campaign, by, reason or f"paused by {by}")
        note("campaign.paused", who=by, subject=f"campaign {campaign_id}", reason=reason)
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
            go_on(campaign)
        note("campaign.resumed", who=by, subject=f"campaign {campaign_id}")
    logger.info("campaign resumed campaign=%s by=%s", campaign_id, by)
    return campaign


def widen(campaign_id: int, by: str, goal_asked: Any) -> Campaign:
    """Let more hosts be asked, as many in all as `goal_asked` says; a campaign that paused to ask for it goes on.

    The sweep releases them within a second, as fast as the order allows. Raise ConflictError or BadInputError.
    """
    with transaction.atomic():
        campaign = _open(campaign_id)
        if campaign.status not in (Status.RUNNING, Status.PAUSED) or campaign.ended_by:
            raise ConflictError(f"campaign {campaign_id} is {_state_of(campaign)}: it cannot be widened")
        goal = operator_verbs.RELEASED_ALL if campaign.rollout is None else campaign.release_goal or 0
        if operator_verbs.RELEASED_ALL in (goal, campaign.released):
            raise ConflictError(
                f"campaign {campaign_id} is released to all of its {counted(campaign.able_targets, 'host')} already"
            )
        hosts = rollout.wanted_hosts(goal_asked, campaign.able_targets)
        if hosts <= goal:
            raise BadInputError(
                f"{counted(hosts, 'host')} is not more than the {goal} it is released to", next(iter(goal_asked))
            )
        rollout.raise_goal(campaign, hosts, step=max(0, min(hosts, campaign.able_targets) - goal))
        if campaign.status == Status.PAUSED and campaign.paused_by == rollout.ASKS:
            with _board_needed():
                go_on(campaign)
        doorbell.ring(campaign_id)
        traces.note(campaign, "campaign widened", to=hosts)
        note("campaign.widened", who=by, subject=f"campaign {campaign_id}", asked=goal_asked, hosts=hosts)
    logger.info("campaign widened campaign=%s by=%s to=%s", campaign_id, by, hosts)
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
            stopped += _stop_unless_held(campaign_id, by, reason)
    return stopped


def _stop_unless_held(campaign_id: int, by: str, reason: str) -> bool:
    """Stop one of many; one whose lock is held for long, by who stands still, has a later turn and no other waits."""
    try:
        with transaction.atomic():
            locks.wait_at_most(HELD_SECONDS)
            stop(campaign_id, by, reason)
    except OperationalError as error:
        if not is_in_the_way(error):
            raise
        logger.warning("campaign not stopped yet campaign=%s reason=%s", campaign_id, str(error).strip())
        return False
    return True


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
    except (NoBoardError, RedisError) as error:
        raise UnavailableError("the board cannot be reached, so nothing is handed out; try again soon") from error
