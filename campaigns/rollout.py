"""How far a campaign goes and what stops it: the canary, widening, brakes.

A host is released when its hash is not above the campaign's threshold, so the canary is the same hosts whoever looks.
Counts of hosts become thresholds by the hash of the last host that is meant. The sweep looks once a second.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from reprlib import repr as shown
from typing import Any

from django.db import connection, transaction
from django.db.models import Func, IntegerField

from agents import open_work, told
from agents.models import HostQuerySet, online_since
from agents.open_work import RELEASED_ALL
from campaigns import doorbell
from campaigns.models import Campaign, State, Status, Target
from campaigns.selection import sql_of
from fleet.errors import BadInputError
from fleet.keyspace import RANGE_BITS

logger = logging.getLogger(__name__)

ASKS = "rollout"  # who paused a campaign that waits for the operator
WIDENING = 4  # each step is so many times the last
ANSWER_SOON = timedelta(seconds=60)  # a delivery that is older keeps no next step waiting
SILENT_AFTER = timedelta(seconds=15)  # a host that asked again so long after its delivery has nothing to say
LARGEST = 10**12  # that a brake may be set to, so that it fits every column and float
LIMITS = {"failed_percent": 100, "silent_percent": 100, "median_wall_ms": LARGEST, "rows": LARGEST}
BRAKES = ("denylisted", *LIMITS)
HASH = Func("host_id", function="hashint8", output_field=IntegerField())

# The selected hosts' query is the ORM's own and stands in for {}.
NTH_OF_HOSTS = "SELECT hashint8(id) FROM ({}) AS meant (id) ORDER BY 1 LIMIT 1 OFFSET %s"
NTH_OF_TARGETS = "SELECT hashint8(host_id) FROM campaigns_target WHERE campaign_id = %s ORDER BY 1 LIMIT 1 OFFSET %s"
# Released hosts that will answer soon, as far as one can tell.
STILL_COUNTED = """
SELECT EXISTS (
    SELECT FROM campaigns_target AS target LEFT JOIN agents_presence AS presence USING (host_id)
    WHERE campaign_id = %s AND hashint8(host_id) <= %s
    AND (state = 'delivered' AND delivered_at > %s OR state = 'waiting' AND presence.last_seen >= %s)
)
"""
MEDIAN = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY wall_ms) FROM campaigns_target WHERE campaign_id = %s"


@dataclass(frozen=True)
class Rollout:
    """What was ordered, checked. Percentages are 0 to 100, `per_second` is hosts."""

    canary_percent: float | None
    canary_count: int | None
    then: str
    per_second: int | None
    stop_if: dict[str, float]

    @classmethod
    def read(cls, value: Any) -> "Rollout | None":
        """Read `rollout` of a launch; None stays None. Raise BadInputError naming what is wrong."""
        if value is None:
            return None
        _members(value, "rollout", ("canary", "then", "per_second", "stop_if"))
        canary = value.get("canary", {})
        if "canary" in value:
            _members(canary, "rollout.canary", ("percent", "count"))
            if len(canary) != 1:
                raise BadInputError(f"rollout.canary {canary!r} is not one of percent or count", "rollout")
        percent = _number(canary, "percent", "rollout.canary", 100, zero=False)
        count = _whole(canary, "count", "rollout.canary")
        then = value.get("then", "ask")
        if then not in ("ask", "auto"):
            raise BadInputError(f"rollout.then {then!r} is neither 'ask' nor 'auto'", "rollout")
        return cls(percent, count, then, _whole(value, "per_second", "rollout"), _stop_if(value))

    def canary_of(self, meant: int) -> int:
        """Give how many of the hosts that are meant go first: all of them without a canary, at least one with."""
        if self.canary_count is not None:
            return min(meant, self.canary_count)
        if self.canary_percent is not None:
            return max(1, min(meant, round(meant * self.canary_percent / 100)))
        return meant


def _stop_if(value: dict[str, Any]) -> dict[str, float]:
    limits = value.get("stop_if", {})
    _members(limits, "rollout.stop_if", BRAKES)
    read = {name: _number(limits, name, "rollout.stop_if", most) for name, most in LIMITS.items()}
    read["denylisted"] = _whole(limits, "denylisted", "rollout.stop_if")
    return {name: limit for name in limits if (limit := read[name]) is not None}


def wanted_hosts(value: Any, targeted: int) -> int:
    """Read the body of `widen`: how many hosts are to be released in all. Raise BadInputError."""
    _members(value, "the body", ("percent", "count", "all"), "")
    if len(value) != 1:
        raise BadInputError(f"give one of percent, count or all, not {sorted(value)}", "percent")
    if "all" in value:
        if value["all"] is not True:
            raise BadInputError(f"all {value['all']!r} is not true", "all")
        return targeted
    percent = _number(value, "percent", "the body", 100, "percent", zero=False)
    if percent is not None:
        return max(1, round(targeted * percent / 100))
    return min(targeted, _whole(value, "count", "the body", "count") or 0)


def begin(campaign: Campaign, hosts: HostQuerySet) -> None:
    """Fix who goes first: on a campaign that is about to be written over `expected` hosts."""
    rollout = Rollout.read(campaign.rollout)
    if rollout is None:
        return
    campaign.release_goal = campaign.release_step = rollout.canary_of(campaign.expected)
    campaign.released_count = min(campaign.release_goal, rollout.per_second or campaign.release_goal)
    if campaign.released_count < campaign.expected:
        text, params = sql_of(hosts, "pk")
        campaign.released = _nth(NTH_OF_HOSTS.format(text), [*params, campaign.released_count - 1])


def brakes_of(campaign: Campaign, denylisted: int | None) -> open_work.Brakes:
    """Give what the board itself must know; `denylisted` is the brake of every campaign, None = none."""
    rollout = Rollout.read(campaign.rollout)
    if rollout is not None and "denylisted" in rollout.stop_if:
        denylisted = int(rollout.stop_if["denylisted"])
    return open_work.Brakes(campaign.released, denylisted, watched=rollout is not None, alone=campaign.goes_alone)


def advance(campaign_id: int) -> str | None:
    """Take the next step of a running campaign; give the sentence of a brake that is to be pulled instead."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status != Status.RUNNING or campaign.ended_by:
            return None
        rollout = Rollout.read(campaign.rollout)
        if rollout is None:
            return None
        pulled = _pulled(campaign, rollout)
        if pulled is not None:
            return pulled
        if campaign.released_count < (campaign.release_goal or 0):
            by = rollout.per_second or campaign.count_targeted
            release(campaign, min(campaign.release_goal or 0, campaign.released_count + by))
        elif campaign.released != RELEASED_ALL and _is_counted(campaign):
            _go_on(campaign, rollout)
    return None


def release(campaign: Campaign, many: int) -> None:
    """Let `many` hosts in all be handed the SQL. The caller holds the lock. Raise NoBoardError; then none is."""
    before = campaign.released
    campaign.released_count = many
    campaign.released = RELEASED_ALL
    if many < campaign.count_targeted:
        campaign.released = _nth(NTH_OF_TARGETS, [campaign.pk, many - 1])
    campaign.save(update_fields=["released", "released_count"])
    fresh = Target.objects.filter(campaign=campaign, state=State.WAITING).annotate(hash=HASH)
    fresh = fresh.filter(hash__gt=before, hash__lte=campaign.released)
    by_range: dict[int, list[int]] = {number: [] for (number,) in campaign.ranges.values_list("number")}
    for host in fresh.values_list("host_id", flat=True):
        by_range.setdefault(host >> RANGE_BITS, []).append(host)
    for number, hosts in by_range.items():
        open_work.release(campaign.pk, number, hosts, campaign.released)
    logger.info("hosts released campaign=%s hosts=%s of=%s", campaign.pk, many, campaign.count_targeted)
    doorbell.ring(campaign.pk)


def _go_on(campaign: Campaign, rollout: Rollout) -> None:
    """Widen by itself, or ask the operator."""
    if rollout.then == "auto":
        campaign.release_step = max(1, campaign.release_step) * WIDENING
        campaign.release_goal = min(campaign.count_targeted, (campaign.release_goal or 0) + campaign.release_step)
        campaign.save(update_fields=["release_step", "release_goal"])
        return
    sentence = f"{campaign.released_count} of {campaign.count_targeted} hosts were asked first: widen, or stop"
    hold(campaign, ASKS, sentence)


def hold(campaign: Campaign, by: str, reason: str) -> None:
    """Pause a running campaign, on the board first. The caller holds the lock. Raise NoBoardError or RedisError."""
    ranges = list(campaign.ranges.values_list("number", flat=True))
    left = open_work.pause(campaign.pk, ranges)
    if left is None:
        return
    campaign.status, campaign.ends_at, campaign.left = Status.PAUSED, None, left
    campaign.paused_by, campaign.paused_reason = by, reason
    campaign.save(update_fields=["status", "ends_at", "left", "paused_by", "paused_reason"])
    doorbell.ring(campaign.pk)
    logger.info("campaign paused campaign=%s by=%s", campaign.pk, by)


def go_on(campaign: Campaign) -> None:
    """Resume a paused campaign. The caller holds the lock. Raise NoBoardError or RedisError."""
    ends_at = open_work.resume(campaign.pk, list(campaign.ranges.values_list("number", flat=True)))
    if ends_at is None:
        return
    campaign.status, campaign.ends_at, campaign.left = Status.RUNNING, ends_at, None
    campaign.paused_by = campaign.paused_reason = ""
    campaign.save(update_fields=["status", "ends_at", "left", "paused_by", "paused_reason"])
    doorbell.ring(campaign.pk)
    logger.info("campaign resumed campaign=%s", campaign.pk)


def _is_counted(campaign: Campaign) -> bool:
    """Say whether the released hosts have said what they will say soon, and at least one has."""
    if not campaign.count_answered + campaign.count_failed + campaign.count_denylisted:
        return False
    now = open_work.now()
    with connection.cursor() as cursor:
        cursor.execute(STILL_COUNTED, [campaign.pk, campaign.released, now - ANSWER_SOON, online_since(now)])
        return not cursor.fetchone()[0]


def _pulled(campaign: Campaign, rollout: Rollout) -> str | None:
    """Give the sentence of the first brake whose limit is passed: which one, at which figures."""
    counts = campaign.counts
    said = counts["answered"] + counts["failed"] + counts["denylisted"]
    for name, limit in rollout.stop_if.items():
        if name == "failed_percent" and said and 100 * (failed := said - counts["answered"]) / said > limit:
            return f"brake {name}: {failed} of {said} answers failed, the limit is {limit:g} %"
        if name == "rows" and counts["rows"] > limit:
            return f"brake {name}: {counts['rows']} rows, the limit is {limit:g}"
        if name == "median_wall_ms" and (median := _median(campaign)) is not None and median > limit:
            return f"brake {name}: the median host took {median:g} ms, the limit is {limit:g} ms"
        if name == "silent_percent":
            silent, asked = _silent(campaign)
            if asked and 100 * silent / asked > limit:
                return f"brake {name}: {silent} of {asked} hosts were asked and stay silent, the limit is {limit:g} %"
        if name == "denylisted" and counts["denylisted"] >= limit:
            return denylisted_sentence(counts["denylisted"], limit)
    return None


def denylisted_sentence(denylisted: int, limit: float) -> str:
    """Say that hosts died running this SQL."""
    return f"brake denylisted: {denylisted} hosts died running this SQL before, the limit is {limit:g}"


def _median(campaign: Campaign) -> float | None:
    with connection.cursor() as cursor:
        cursor.execute(MEDIAN, [campaign.pk])
        median: float | None = cursor.fetchone()[0]
        return median


def _silent(campaign: Campaign) -> tuple[int, int]:
    """Count the hosts that were handed the SQL and have asked again without answering, and all that were handed it."""
    handed = Target.objects.filter(campaign=campaign, delivered_at__isnull=False)
    in_flight = handed.filter(state=State.DELIVERED).values_list("host_id", "delivered_at")
    due = {host: at + SILENT_AFTER for host, at in in_flight if at is not None}
    reads = told.reads_of(list(due))
    again = sum(read.last > due[host] for host, read in reads.items())
    return campaign.count_no_answer + again, handed.count()


def _nth(text: str, params: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        row = cursor.fetchone()
        return int(row[0]) if row else RELEASED_ALL


def _members(value: Any, what: str, allowed: tuple[str, ...], field: str = "rollout") -> None:
    if not isinstance(value, dict):
        raise BadInputError(f"{what} {shown(value)} is not an object", field)
    for name in value:
        if name not in allowed:
            sentence = f"{what} has an unknown member {name!r}, allowed are {', '.join(allowed)}"
            raise BadInputError(sentence, field or name)


def _number(
    value: dict[str, Any], name: str, what: str, most: int, field: str = "rollout", *, zero: bool = True
) -> float | None:
    """Read a number; None = not given. A null is refused: it would mean everybody to one and nobody to the other."""
    if name not in value:
        return None
    number = value[name]
    known = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not known or not 0 <= number <= most or not (number or zero):
        bound = f"0 to {most}" if zero else f"a number above 0, up to {most}"
        raise BadInputError(f"{what} has {name} {shown(number)}, allowed is {bound}", field)
    return float(number)


def _whole(value: dict[str, Any], name: str, what: str, field: str = "rollout") -> int | None:
    if name not in value:
        return None
    number = value[name]
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 2**31:
        raise BadInputError(f"{what} has {name} {shown(number)}, allowed is a whole number above 0", field)
    return number
