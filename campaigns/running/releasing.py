"""How far a campaign goes and what stops it: the canary, widening, brakes.

A host is released when its hash is not above the campaign's threshold, so the canary is the same hosts whoever looks.
Counts of hosts become thresholds by the hash of the last host that is meant and can run the SQL. The sweep looks once
a second. It never goes on without a single answer: while all hosts that were asked first are offline, `ask` and `auto`
wait for one, and the campaign's warnings say so; a person may widen all the same.
"""

import logging
import time
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Func, IntegerField

from agents.board import clock, operator_verbs
from agents.board.keyspace import RANGE_BITS
from agents.board.operator_verbs import RELEASED_ALL
from agents.models import online_since
from campaigns import doorbell
from campaigns.launching.control import hold
from campaigns.launching.rollout import ASKS, NOBODY_ANSWERED, Rollout, nth, raise_goal
from campaigns.models import Campaign, Target
from campaigns.running import brakes
from campaigns.states import State, Status
from fleet import audit, traces
from fleet.counting import counted

logger = logging.getLogger(__name__)

WIDENING = 4  # each step is so many times the last
ANSWER_SOON = timedelta(seconds=60)  # a delivery that is older keeps no next step waiting
# What so many seconds are worth may be released at once: a sweep that comes late makes good for itself, an outage does
# not, because the pace protects what all the hosts reach, and that would meet minutes of it in one moment.
MAKES_GOOD = timedelta(seconds=3)
FEW_ANSWERS = 5  # percentages of fewer say little while more may come
HASH = Func("host_id", function="hashint8", output_field=IntegerField())

NTH_OF_TARGETS = """
SELECT hashint8(host_id) FROM campaigns_target WHERE campaign_id = %s AND state <> 'unsupported'
ORDER BY 1 LIMIT 1 OFFSET %s
"""
# Released hosts that will answer soon, as far as one can tell.
STILL_COUNTED = """
SELECT EXISTS (
    SELECT FROM campaigns_target AS target LEFT JOIN agents_presence AS presence USING (host_id)
    WHERE campaign_id = %s AND hashint8(host_id) <= %s
    AND (state = 'delivered' AND delivered_at > %s OR state = 'waiting' AND presence.last_seen >= %s)
)
"""


def brakes_of(campaign: Campaign, denylisted: int | None) -> operator_verbs.Brakes:
    """Give what the board itself must know; `denylisted` is the brake of every campaign, None = none."""
    rollout = Rollout.read(campaign.rollout)
    if rollout is not None and "denylisted" in rollout.stop_if:
        denylisted = int(rollout.stop_if["denylisted"])
    return operator_verbs.Brakes(campaign.released, denylisted, watched=rollout is not None, alone=campaign.goes_alone)


def advance(campaign_id: int) -> str | None:
    """Take the next step of a campaign under way; give the sentence of a brake that is to be pulled instead.

    While its targets are being written it goes no further, and its brakes are looked at all the same.
    """
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status not in (Status.TARGETING, Status.RUNNING) or campaign.ended_by:
            return None
        rollout = Rollout.read(campaign.rollout)
        if rollout is None:
            return None
        pulled = _pulled(campaign, rollout, min(FEW_ANSWERS, campaign.released_count))
        if pulled is not None or campaign.status != Status.RUNNING or campaign.released == RELEASED_ALL:
            return pulled
        if campaign.released_count < min(campaign.release_goal or 0, campaign.able_targets):
            _release_at_pace(campaign, rollout.per_second)
        elif not _is_awaited(campaign):
            return _decide(campaign, rollout)
    return None


def _decide(campaign: Campaign, rollout: Rollout) -> str | None:
    """Go on after a step whose hosts have said what they will say soon: few or many, it is what there is to judge."""
    pulled = _pulled(campaign, rollout, 1)
    if pulled is not None:
        return pulled
    if campaign.count_answered + campaign.count_failed + campaign.count_denylisted:
        _go_on(campaign, rollout)
        return None
    since = campaign.released_at or campaign.started_at
    if since and clock.now() - since > ANSWER_SOON and NOBODY_ANSWERED not in campaign.warnings:
        campaign.warnings.append(NOBODY_ANSWERED)
        campaign.save(update_fields=["warnings"])
        doorbell.ring(campaign.pk)
    return None


def _release_at_pace(campaign: Campaign, per_second: int | None) -> None:
    """Release what is due since the last time, however often that is looked at; without a pace all that may go."""
    by, now = campaign.count_targeted, clock.now()
    # Never ahead of now: another Redis, whose clock is behind, may have taken over.
    since = min(now, max(campaign.released_at or campaign.started_at or now, now - MAKES_GOOD))
    campaign.released_at = now
    if per_second is not None:
        by = int(per_second * (now - since).total_seconds())
        campaign.released_at = since + timedelta(seconds=by / per_second)
    if by:
        release(campaign, min(campaign.release_goal or 0, campaign.released_count + by))


def release(campaign: Campaign, count: int) -> None:
    """Let `count` hosts in all be handed the SQL. The caller holds the lock. Raise NoBoardError; then none is.

    Nobody who is released is taken back, though hosts that joined late may stand before others now. The board may be
    further than Postgres, when a process died before it committed: that counts, and nobody's bit is set twice.
    """
    began, before = time.time(), campaign.released
    on_board = operator_verbs.released_to(campaign.pk, campaign.ranges.values_list("number", flat=True))
    campaign.released = max(before, _threshold(campaign, count), *on_board.values())
    campaign.released_count = count_released(campaign)
    campaign.save(update_fields=["released", "released_count", "released_at"])
    fresh = Target.objects.filter(campaign=campaign, state=State.WAITING).annotate(hash=HASH)
    fresh = fresh.filter(hash__gt=before, hash__lte=campaign.released)
    by_range: dict[int, list[int]] = {number: [] for (number,) in campaign.ranges.values_list("number")}
    for host, hash_ in fresh.values_list("host_id", "hash"):
        if hash_ > on_board.get(host >> RANGE_BITS, before):
            by_range.setdefault(host >> RANGE_BITS, []).append(host)
    for number, hosts in by_range.items():
        operator_verbs.release(campaign.pk, number, hosts, campaign.released)
    traces.note(campaign, "hosts released", began, hosts=campaign.released_count)
    logger.info("hosts released campaign=%s hosts=%s", campaign.pk, campaign.released_count)
    doorbell.ring(campaign.pk)


def _threshold(campaign: Campaign, count: int) -> int:
    """Give the hash up to which `count` hosts stand: that of the last one when others may join, to be asked later."""
    able = campaign.able_targets
    if count >= able and (campaign.release_goal == RELEASED_ALL or not campaign.include_late_joiners):
        return RELEASED_ALL
    return nth(NTH_OF_TARGETS, [campaign.pk, min(count, able) - 1])


def count_released(campaign: Campaign) -> int:
    """Count the targets that may be handed the SQL and can run it."""
    able = Target.objects.filter(campaign=campaign).exclude(state=State.UNSUPPORTED)
    return able.annotate(hash=HASH).filter(hash__lte=campaign.released).count()


def _go_on(campaign: Campaign, rollout: Rollout) -> None:
    """Widen by itself, or ask the operator."""
    if rollout.then == "auto":
        step = max(1, campaign.release_step) * WIDENING
        count = (campaign.release_goal or 0) + step
        goal = count if count < campaign.able_targets else RELEASED_ALL
        raise_goal(campaign, goal, step)
        audit.note("campaign.widened", subject=f"campaign {campaign.pk}", hosts=min(count, campaign.able_targets))
        return
    sentence = f"{campaign.released_count} of {counted(campaign.able_targets, 'host')} were asked first: widen, or stop"
    hold(campaign, ASKS, sentence)


def _is_awaited(campaign: Campaign) -> bool:
    """Say whether a released host has yet to say what it will say soon."""
    now = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(STILL_COUNTED, [campaign.pk, campaign.released, now - ANSWER_SOON, online_since(now)])
        return bool(cursor.fetchone()[0])


def _pulled(campaign: Campaign, rollout: Rollout, least: int) -> str | None:
    """Give the sentence of the first brake whose limit is passed: which one, at which figures.

    Percentages are of `least` hosts or more.
    """
    for name, limit in rollout.stop_if.items():
        reading = brakes.READ[name](campaign)
        if reading.of is not None and reading.of < least:
            continue
        if reading.is_past(limit):
            return reading.sentence(limit)
    return None
