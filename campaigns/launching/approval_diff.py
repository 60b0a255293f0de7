"""What differs between a launch that waits and the last one of the same SQL, or saved query, that was approved."""

from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from django.contrib.auth.models import User

from campaigns.answers import sight
from campaigns.launching.approvals import LIMITS
from campaigns.launching.models import Approval
from campaigns.models import Campaign, Target
from campaigns.people import scopes
from campaigns.selecting import frozen


@dataclass(frozen=True)
class Diff:
    """The earlier campaign, and what is different: lines of SQL, hosts that are new and gone, limits as (then, now)."""

    campaign: Campaign
    sql: list[str]
    more_hosts: int
    less_hosts: int
    same_hosts: int
    limits: dict[str, tuple[Any, Any]]


def last_approved(campaign: Campaign, viewer: User) -> Campaign | None:
    """Give the newest campaign before this one that was approved and begun: of its SQL, else of its saved query."""
    begun = (
        Campaign.objects.visible_to(viewer)
        .filter(pk__lt=campaign.pk, approval__state=Approval.State.APPROVED)
        .exclude(started_at=None)
        .order_by("-pk")
    )
    same: Campaign | None = begun.filter(sql=campaign.sql).first()
    if same is None and campaign.query_id is not None:
        same = begun.filter(query=campaign.query_id).first()
    return same


def diff(campaign: Campaign, viewer: User) -> Diff | None:
    """Compare a campaign, as it is seen, with the last approved run; None = there is none.

    Hosts out of sight count for nothing.
    """
    earlier = last_approved(campaign, viewer)
    if earlier is None:
        return None
    now = scopes.within(frozen.hosts_of(campaign.ranges.all()), viewer, "pk").values("pk")
    then = scopes.within(Target.objects.filter(campaign=earlier), viewer)
    same = then.filter(host_id__in=now).count()
    return Diff(
        campaign=earlier,
        sql=_of_sql(earlier.sql, campaign.sql),
        more_hosts=now.count() - same,
        less_hosts=then.count() - same,
        same_hosts=same,
        limits=_of_limits(sight.seen_by(earlier, viewer), campaign),
    )


def _of_sql(then: str, now: str) -> list[str]:
    """Give the lines of a unified diff without its head; [] = it is the same."""
    return list(unified_diff(then.splitlines(), now.splitlines(), lineterm="", n=3))[2:]


def _of_limits(then: Campaign, now: Campaign) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(then, name), getattr(now, name)) for name in LIMITS if name != "start_at"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
