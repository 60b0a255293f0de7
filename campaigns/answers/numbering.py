"""The numbers of answers (`seq`) as one person counts them: who sees a part of the hosts counts the answers of those.

What is stored counts everybody's, so its gaps would tell how many others answered. Whoever is not limited gets what is
stored. All that shows a seq, or takes one, goes by here; beneath it, seqs are stored ones.
"""

from collections.abc import Collection, Iterable, Mapping

from django.db import connection

from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.scopes import Limits

BEYOND = 2**63 - 1  # after every answer
# {scope} is the condition of `scopes`: answers of the hosts that are seen.
NEWEST = "SELECT count(*), coalesce(max(seq), 0) FROM campaigns_result WHERE campaign_id = %s AND {scope}"
UP_TO = "SELECT count(*) FROM campaigns_result WHERE campaign_id = %s AND {scope} AND seq <= %s"
NTH = "SELECT seq FROM campaigns_result WHERE campaign_id = %s AND {scope} ORDER BY seq LIMIT 1 OFFSET %s"
NUMBERS = """
SELECT seq, number FROM (
    SELECT seq, row_number() OVER (ORDER BY seq) AS number FROM campaigns_result
    WHERE campaign_id = %s AND {scope} AND seq <= %s
) AS numbered WHERE seq = ANY(%s)
"""
NUMBERS_IN_MANY = """
SELECT asked.campaign_id, (
    SELECT count(*) FROM campaigns_result AS result
    WHERE result.campaign_id = asked.campaign_id AND result.seq <= asked.seq AND {scope}
) FROM unnest(%s::bigint[], %s::bigint[]) AS asked (campaign_id, seq)
"""


def newest(campaign: Campaign, limits: Limits) -> tuple[int, int]:
    """Give the number and the stored seq of the newest answer within these limits; zeros = there is none."""
    scope, values = scopes.condition(limits, "host_id")
    with connection.cursor() as cursor:
        cursor.execute(NEWEST.format(scope=scope), [campaign.pk, *values])
        number, seq = cursor.fetchone()
        return int(number), int(seq)


def number_at(campaign: Campaign, seq: int) -> int:
    """Give the number of the newest answer up to this stored seq; 0 = there is none."""
    if not campaign.limits:
        return seq
    scope, values = scopes.condition(campaign.limits, "host_id")
    with connection.cursor() as cursor:
        cursor.execute(UP_TO.format(scope=scope), [campaign.pk, *values, seq])
        return int(cursor.fetchone()[0])


def stored(campaign: Campaign, number: int) -> int:
    """Give the stored seq of the answer that bears this number; that of none is before or beyond all of them."""
    if not campaign.limits or number <= 0:
        return number
    scope, values = scopes.condition(campaign.limits, "host_id")
    with connection.cursor() as cursor:
        cursor.execute(NTH.format(scope=scope), [campaign.pk, *values, number - 1])
        found = cursor.fetchone()
    return BEYOND if found is None else int(found[0])


def shown(campaign: Campaign, seqs: Collection[int]) -> Mapping[int, int]:
    """Give the number of each of these stored seqs, of answers that are seen."""
    if not campaign.limits or not seqs:
        return {seq: seq for seq in seqs}
    scope, values = scopes.condition(campaign.limits, "host_id")
    with connection.cursor() as cursor:
        cursor.execute(NUMBERS.format(scope=scope), [campaign.pk, *values, max(seqs), list(seqs)])
        return dict(cursor.fetchall())


def shown_in_many(places: Iterable[tuple[int, int]], limits: Limits) -> list[int]:
    """Give the numbers of answers of several campaigns, each named by its campaign and stored seq, in their order."""
    places = list(places)
    if not limits or not places:
        return [seq for _, seq in places]
    scope, values = scopes.condition(limits, "result.host_id")
    campaigns, seqs = zip(*places, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(NUMBERS_IN_MANY.format(scope=scope), [*values, list(campaigns), list(seqs)])
        return [number for _, number in cursor.fetchall()]
