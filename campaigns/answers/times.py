"""When a campaign's answers came: the first, the median, the last, and how many by when."""

from dataclasses import dataclass, field

from django.db import connection

from campaigns.models import Campaign
from campaigns.people import scopes

STEPS = 40
TIMES = """
SELECT extract(epoch FROM min(answered_at) - %s), extract(epoch FROM max(answered_at) - %s),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - %s))
FROM campaigns_target WHERE campaign_id = %s AND state = 'answered' AND {scope}
"""
CURVE = """
SELECT width_bucket(extract(epoch FROM answered_at - %s), 0, %s, %s) AS step, count(*)
FROM campaigns_target WHERE campaign_id = %s AND state = 'answered' AND {scope} GROUP BY step ORDER BY step
"""


@dataclass(frozen=True)
class AnswerTimes:
    """Seconds after the start; None = nobody answered. `curve` counts the answers by the end of each step."""

    first: float | None = None
    median: float | None = None
    last: float | None = None
    curve: list[int] = field(default_factory=list)


def answer_times(campaign: Campaign) -> AnswerTimes:
    """Look when answers came; errors are none."""
    start = campaign.started_at or campaign.created_at
    scope, values = scopes.condition(campaign.limits, "host_id")
    with connection.cursor() as cursor:
        cursor.execute(TIMES.format(scope=scope), [start, start, start, campaign.pk, *values])
        first, last, median = (None if value is None else max(0.0, float(value)) for value in cursor.fetchone())
        if last is None:
            return AnswerTimes()
        cursor.execute(CURVE.format(scope=scope), [start, max(last, 0.001), STEPS, campaign.pk, *values])
        counts = dict(cursor.fetchall())
    curve, total = [], counts.get(0, 0)  # 0: before the start, by a clock that went back
    for step in range(1, STEPS + 1):
        total += counts.get(step, 0) + (counts.get(STEPS + 1, 0) if step == STEPS else 0)
        curve.append(total)
    return AnswerTimes(first, median, last, curve)
