"""The end of a campaign, in two steps: closed on the board, then final in Postgres when every answer is stored.

Whoever makes the last target final completes: the collector, the sweep, or the task that closes targeting.
"""

import logging
from datetime import datetime

from redis.exceptions import RedisError

from agents.board import operator_verbs
from campaigns.models import Campaign, Status

logger = logging.getLogger(__name__)


def close_on_board(campaign: Campaign, at: datetime | None = None) -> bool:
    """Take the first of the two steps of ending; give whether it was taken. The caller holds the campaign's lock.

    When the board is away nothing is handed out either; the sweep closes it again as soon as it is back.
    """
    try:
        closed = operator_verbs.close(campaign.pk, [number for (number,) in campaign.ranges.values_list("number")], at)
    except (operator_verbs.NoBoardError, RedisError) as error:
        logger.warning("campaign not closed yet campaign=%s reason=%s", campaign.pk, error or "the board is not whole")
        return False
    campaign.closed_at = min(closed.at, campaign.closed_at or closed.at)
    campaign.closed_entry = closed.entry
    campaign.save(update_fields=["closed_at", "closed_entry"])
    return True


def complete_if_over(campaign: Campaign, at: datetime) -> bool:
    """Complete a campaign whose last target just became final at `at`. The caller holds its lock and saves counts.

    Only the sweep ends what was stopped or ran out of time: it knows that all answers are stored.
    """
    if campaign.status not in (Status.RUNNING, Status.PAUSED) or campaign.include_late_joiners:
        return False
    if campaign.open_targets or campaign.ended_by or campaign.is_past(at):
        return False
    campaign.status, campaign.ended_at = Status.COMPLETED, at
    campaign.ended_reason = "every host has a final state"
    campaign.save(update_fields=["status", "ended_at", "ended_reason", *campaign.forget_pause()])
    logger.info("campaign completed campaign=%s", campaign.pk)
    return True
