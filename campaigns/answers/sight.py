"""A campaign as one person sees it: of its hosts those in his scope, and whether there are more, never how many.

What is seen is a copy for reading: its counts, columns and sentences are those of the part. Everything that reads
answers narrows by the copy's `limits`. Who is not limited gets the campaign itself. Verbs never take a copy.
"""

from collections.abc import Iterable
from copy import copy
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.db.models import IntegerField
from django.db.models.expressions import Func
from django.utils import timezone

from agents.board.operator_verbs import RELEASED_ALL
from agents.inventory import host_names
from agents.models import BUSY, online_since
from campaigns.answers import numbering
from campaigns.models import Campaign, Target
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from campaigns.states import State

BRAKE, ROLLOUT = "brake", "rollout"  # what ends and pauses campaigns with a sentence that counts hosts
# {scope} is the condition of `scopes`, on the host's column.
COUNTS = """
SELECT target.state, count(*), sum(row_count), count(*) FILTER (WHERE presence.last_seen >= %s OR busy_since >= %s),
    count(*) FILTER (WHERE deliveries > 0 OR answered_at IS NOT NULL)
FROM campaigns_target AS target LEFT JOIN agents_presence AS presence USING (host_id)
WHERE target.campaign_id = %s AND {scope} GROUP BY 1
"""
COLUMNS = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS known (name, place)
WHERE EXISTS (
    SELECT FROM campaigns_result AS result CROSS JOIN LATERAL jsonb_array_elements(result.rows) AS row
    WHERE campaign_id = %s AND {scope} AND row ? name
) ORDER BY place
"""


def seen_by(campaign: Campaign, user: User | AnonymousUser) -> Campaign:
    """Give the campaign as this person sees it."""
    return seen_within(campaign, scopes.limits_of(user))


def all_seen_by(campaigns: Iterable[Campaign], user: User | AnonymousUser) -> list[Campaign]:
    """Give each campaign of a page as this person sees it."""
    limits = scopes.limits_of(user)
    return [seen_within(campaign, limits) for campaign in campaigns]


def seen_within(campaign: Campaign, limits: Limits) -> Campaign:
    """Give the campaign as it is seen within these limits; what is seen so already stays."""
    if campaign.limits == limits:
        return campaign
    seen = copy(campaign)
    seen.limits = limits
    _count(seen)
    seen.last_seq = numbering.newest(seen, limits)[0]
    seen.is_partial = seen.count_targeted < campaign.count_targeted
    if seen.is_partial:
        _leave_out_the_rest(seen)
    elif not campaign.count_targeted and scopes.from_json(campaign.scope) != limits:
        seen.expected, seen.is_partial = 0, True  # nobody is written yet, and others than these may be meant
        seen.target = _target_within(campaign.target, limits)
    return seen


def asked_within(campaign: Campaign, limits: Limits) -> Campaign:
    """Give what was asked, of a campaign of which these limits leave something out, whether it has begun or not."""
    seen = copy(campaign)
    _leave_out_what_counts(seen, limits)
    return seen


def _count(seen: Campaign) -> None:
    """Give it the counts of the part."""
    scope, values = scopes.condition(seen.limits, "target.host_id")
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(COUNTS.format(scope=scope), [online_since(now), now - BUSY, seen.pk, *values])
        found = cursor.fetchall()
    counted = {state: hosts for state, hosts, *_ in found}
    for state in State.values:
        setattr(seen, f"count_{state}", counted.get(state, 0))
    targets, rows, online, reached = (sum(line[place] for line in found) for place in range(1, 5))
    seen.count_targeted, seen.count_rows = targets, int(rows)
    seen.count_online = reached if seen.is_over else online


def _leave_out_the_rest(seen: Campaign) -> None:
    """Take away what tells how much there is outside: figures, names, sentences in which the machine counts hosts."""
    seen.expected, seen.stored_bytes = seen.count_targeted, 0
    _leave_out_what_counts(seen, seen.limits)
    if seen.columns:
        scope, values = scopes.condition(seen.limits, "result.host_id")
        with connection.cursor() as cursor:
            cursor.execute(COLUMNS.format(scope=scope), [seen.columns, seen.pk, *values])
            seen.columns = [name for (name,) in cursor.fetchall()]
    if seen.released != RELEASED_ALL:
        seen.released_count = _count_released(seen)
        seen.release_goal = seen.released_count
    if seen.ended_by == BRAKE:
        seen.ended_reason = "a brake was pulled"
    if seen.paused_by == ROLLOUT:
        seen.paused_reason = "some hosts were asked first: widen, or stop"


def _leave_out_what_counts(seen: Campaign, limits: Limits) -> None:
    seen.warnings, seen.unsupported = [], []
    if seen.rollout and "count" in (seen.rollout.get("canary") or {}):
        seen.rollout = {name: value for name, value in seen.rollout.items() if name != "canary"}
    seen.target = _target_within(seen.target, limits)


def _count_released(seen: Campaign) -> int:
    able = Target.objects.filter(campaign=seen.pk).exclude(state=State.UNSUPPORTED)
    hashed = able.annotate(hash=Func("host_id", function="hashint8", output_field=IntegerField()))
    return scopes.within_limits(hashed.filter(hash__lte=seen.released), seen.limits).count()


def _target_within(target: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Give the selection without hosts outside, and without a number of hosts that were to be chosen."""
    kept = {name: value for name, value in target.items() if name != "sample" or "percent" in value}
    if hosts := target.get("hosts"):
        visible = scopes.hosts_within(limits)
        ids, names = [one for one in hosts if isinstance(one, int)], [one for one in hosts if isinstance(one, str)]
        unknown = set(host_names.look_up(ids, names, visible, among_revoked=True).unknown)
        kept["hosts"] = [one for one in hosts if one not in unknown]
    return kept
