"""What a launch would mean, without launching: who is meant now, and what the same SQL cost before."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from agents import sql
from agents.models import online_since
from campaigns import quotas
from campaigns.selection import Selection, sql_of

SLOW_MS = 5_000  # of wall time that one host in twenty needed for it or more

# The selected hosts' query is the ORM's own and stands in for {}.
COUNT_MEANT = """
SELECT platform, count(*), count(*) FILTER (WHERE last_seen >= %s), count(*) FILTER (WHERE last_seen >= %s)
FROM ({}) AS meant (id, platform, last_seen) GROUP BY 1 ORDER BY 2 DESC
"""
# Bounded, so that it takes as long for a hundred earlier campaigns over everybody as for one over a few.
COST = """
WITH earlier AS (
    SELECT id, count_denylisted, count_answered + count_failed AS told FROM campaigns_campaign
    WHERE md5(sql) = md5(%s) AND sql = %s
), target AS (
    SELECT wall_ms, memory_bytes
    FROM (SELECT id FROM earlier WHERE told > 0 ORDER BY id DESC LIMIT 5) AS newest
    CROSS JOIN LATERAL (
        SELECT wall_ms, memory_bytes FROM campaigns_target
        WHERE campaign_id = newest.id AND wall_ms IS NOT NULL ORDER BY host_id LIMIT 10000
    ) AS told
)
SELECT (SELECT count(*) FROM earlier), (SELECT coalesce(sum(count_denylisted), 0) FROM earlier), count(*),
    percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY wall_ms),
    percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY memory_bytes)
FROM target
"""


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


def estimate(target: Any, by: User, text: str = "") -> dict[str, Any]:
    """Count who a selection means now: all, online, seen within a day, by platform; and the cost of the SQL, if given.

    Raise BadInputError for what a launch would refuse; warn of what it would need a permission for.
    """
    selection = Selection.read(target)
    warnings = selection.check_names()
    platforms = _count(selection)
    targeted = sum(row[1] for row in platforms)
    cost = None
    warnings += filter(None, [quotas.beyond_quota(by, targeted)])
    if text:
        checked = sql.check(text, settings.RESTRICTED_TABLES)
        cost = cost_of(checked.text)
        warnings += [*_refusals(cost), *(f"{reason}: it needs a permission" for reason in checked.restricted)]
    return {
        "targeted": targeted,
        "online": sum(row[2] for row in platforms),
        "seen_last_day": sum(row[3] for row in platforms),
        "platforms": {row[0]: row[1] for row in platforms},
        "cost": cost.as_json() if cost else None,
        "warnings": warnings,
    }


def _count(selection: Selection) -> list[tuple[str, int, int, int]]:
    now = timezone.now()
    text, params = sql_of(selection.hosts(now), "pk", "platform", "presence__last_seen")
    with connection.cursor() as cursor:
        cursor.execute(COUNT_MEANT.format(text), [online_since(now), now - timedelta(days=1), *params])
        return list(cursor.fetchall())


def cost_of(text: str) -> Cost:
    """Look up what this SQL cost in earlier campaigns."""
    with connection.cursor() as cursor:
        cursor.execute(COST, [text, text])
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
