"""What a launch would mean, without launching: who is meant now, who of them cannot run the SQL, what it cost."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from agents.inventory import kept_sql
from agents.inventory.schemas import KIND
from agents.models import BUSY, HostQuerySet, online_since
from campaigns.launching import approval_rules, quotas
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from campaigns.selecting import sql_support
from campaigns.selecting.selection import Selection

SLOW_MS = 5_000  # of wall time that one host in twenty needed for it or more

# The selected hosts' query is the ORM's own and stands in for {}.
COUNT_MEANT = """
SELECT platform, version, extensions, digest,
    count(*), count(*) FILTER (WHERE last_seen >= %s OR busy_since >= %s), count(*) FILTER (WHERE last_seen >= %s)
FROM ({}) AS meant (platform, version, extensions, digest, last_seen, busy_since) GROUP BY 1, 2, 3, 4
"""
EARLIER = """
SELECT id, count_denylisted, count_answered + count_failed AS told FROM campaigns_campaign
WHERE md5(sql) = md5(%s) AND sql = %s
"""
# Who sees some hosts only hears what it cost those: {scope} is the condition of `scopes`.
EARLIER_WITHIN = """
SELECT campaign.id, count(*) FILTER (WHERE state = 'denylisted') AS count_denylisted,
    count(*) FILTER (WHERE state IN ('answered', 'failed')) AS told
FROM campaigns_campaign AS campaign JOIN campaigns_target AS target ON target.campaign_id = campaign.id
WHERE md5(sql) = md5(%s) AND sql = %s AND {scope} GROUP BY 1
"""
# Bounded, so that it takes as long for a hundred earlier campaigns over everybody as for one over a few.
COST = """
WITH earlier AS (
    {earlier}
), target AS (
    SELECT wall_ms, memory_bytes
    FROM (SELECT id FROM earlier WHERE told > 0 ORDER BY id DESC LIMIT 5) AS newest
    CROSS JOIN LATERAL (
        SELECT wall_ms, memory_bytes FROM campaigns_target
        WHERE campaign_id = newest.id AND wall_ms IS NOT NULL AND {scope} ORDER BY host_id LIMIT 10000
    ) AS told
)
SELECT (SELECT count(*) FROM earlier), (SELECT coalesce(sum(count_denylisted), 0) FROM earlier), count(*),
    percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY wall_ms),
    percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY memory_bytes)
FROM target
"""


class Meant(NamedTuple):
    """How many hosts of one kind are meant."""

    hosts: int
    online: int
    seen_last_day: int


@dataclass(frozen=True)
class Cost:
    """What SQL cost the hosts of earlier campaigns: of the newest five, and of 10,000 hosts in each."""

    campaigns: int
    denylisted: int
    hosts: int
    wall_ms: list[int] | None
    memory_bytes: list[int] | None

    def as_json(self) -> dict[str, Any] | None:
        """Give it as the API shows it; None = nothing is known."""
        if not self.hosts and not self.denylisted:
            return None
        return {
            "campaigns": self.campaigns,
            "hosts": self.hosts,
            "wall_ms": _median_and_p95(self.wall_ms),
            "memory_bytes": _median_and_p95(self.memory_bytes),
            "denylisted": self.denylisted,
        }


def _median_and_p95(values: list[int] | None) -> dict[str, int | None]:
    median, p95 = values or (None, None)
    return {"median": median, "p95": p95}


def estimate(
    target: Any, by: User, text: str = "", *, forced: bool = False, start_at: datetime | None = None
) -> dict[str, Any]:
    """Count who a selection means now: all, online, seen within a day, by platform; and the cost of the SQL, if given.

    Raise BadInputError for what a launch would refuse; warn of what it would need a permission for, and of hosts that
    it would not ask; say why it would wait for a second person.
    """
    limits = scopes.limits_of(by)
    selection = Selection.read(target, limits)
    selection.check_rights(by)
    warnings = selection.check_names()
    now = timezone.now()
    meant = _count(selection.hosts(now))
    targeted = sum(counted.hosts for counted in meant.values())
    warnings += quotas.refusal(by, targeted, start_at)
    found = _estimate(meant, text, warnings, limits, forced=forced)
    caught = approval_rules.catch(by, text, targeted, (now, start_at or now))
    return {
        **found,
        "approval": caught and caught.as_json(),
        "quotas": [standing.as_json() for standing in quotas.standings(by)],
    }


def estimate_of(hosts: HostQuerySet, text: str, viewer: User, *, forced: bool = False) -> dict[str, Any]:
    """Count hosts that are frozen, as they are now, and give the cost of the SQL. Raise BadInputError."""
    return _estimate(_count(hosts), text, [], scopes.limits_of(viewer), forced=forced)


def _estimate(
    meant: dict[sql_support.Kind, Meant], text: str, warnings: list[str], limits: Limits, *, forced: bool
) -> dict[str, Any]:
    platforms: Counter[str] = Counter()
    for (platform, *_), counted in meant.items():
        platforms[platform] += counted.hosts
    cost = None
    if text:
        checked = kept_sql.checked(text)
        cost = cost_of(checked.text, limits)
        kinds = {kind: counted.hosts for kind, counted in meant.items()}
        warnings += sql_support.support_among(checked.text, kinds, forced=forced).warnings
        warnings += [*_refusals(cost), *(f"{reason}: it needs a permission" for reason in checked.restricted)]
    return {
        "targeted": platforms.total(),
        "online": sum(counted.online for counted in meant.values()),
        "seen_last_day": sum(counted.seen_last_day for counted in meant.values()),
        "platforms": dict(platforms.most_common()),
        "cost": cost.as_json() if cost else None,
        "warnings": warnings,
    }


def _count(hosts: HostQuerySet) -> dict[sql_support.Kind, Meant]:
    now = timezone.now()
    fields = (*KIND, "presence__last_seen", "presence__busy_since")
    text, params = hosts.sql_of(*fields)
    with connection.cursor() as cursor:
        cursor.execute(COUNT_MEANT.format(text), [online_since(now), now - BUSY, now - timedelta(days=1), *params])
        return {row[:4]: Meant(*row[4:]) for row in cursor.fetchall()}


def cost_of(text: str, limits: Limits = scopes.UNLIMITED) -> Cost:
    """Look up what this SQL cost the hosts within these limits in earlier campaigns."""
    scope, values = scopes.condition(limits, "host_id")
    earlier, again = (EARLIER_WITHIN.format(scope=scope), values) if limits else (EARLIER, [])
    with connection.cursor() as cursor:
        cursor.execute(COST.format(earlier=earlier, scope=scope), [text, text, *again, *values])
        campaigns, denylisted, *told = cursor.fetchone()
    return Cost(campaigns, int(denylisted), *told)


def goes_alone(text: str) -> bool:
    """Say whether nothing else shall wait, or die, with this SQL: it was slow or denylisted before."""
    cost = cost_of(text)
    return bool(cost.denylisted) or (cost.wall_ms is not None and cost.wall_ms[1] >= SLOW_MS)


def _refusals(cost: Cost) -> list[str]:
    if not cost.denylisted:
        return []
    return [f"hosts that denylisted it in earlier campaigns: {cost.denylisted}; osquery died there running this SQL"]
