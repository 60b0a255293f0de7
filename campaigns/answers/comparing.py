"""Two campaigns that asked the same, compared by their groups: how many hosts were and are in each.

A group's digest names its values whatever the campaign, so groups of two campaigns meet by it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Q, Value, When
from django.db.models.functions import MD5

from campaigns.answers.groups import Key, grouped, with_content
from campaigns.models import Campaign, CampaignQuerySet

# What came or went stands first, then what changed most.
ORDER = "(before > 0 AND now > 0), abs(now - before) DESC, digest"
COMPARED = f"""
SELECT * FROM (
    SELECT digest, coalesce(earlier.hosts, 0) AS before, coalesce(later.hosts, 0) AS now,
        coalesce(later.content, earlier.content) AS content,
        coalesce(later.example_id, earlier.example_id) AS example_id
    FROM ({{now}}) AS later FULL JOIN ({{before}}) AS earlier USING (digest)
) AS both_runs
WHERE %s OR before <> now ORDER BY {ORDER} LIMIT %s OFFSET %s
"""  # noqa: S608 - put together of constants


@dataclass(frozen=True)
class Compared:
    """A group of either campaign, and how many hosts of each are in it."""

    key: str
    digest: str
    before: int
    now: int
    content: list[Any]  # of columns their values, of whole answers the first rows

    @property
    def change(self) -> int:
        """Give how many hosts more are in it now."""
        return self.now - self.before

    @property
    def fell(self) -> int:
        """Give how many hosts fewer are in it now."""
        return self.before - self.now

    @property
    def is_gained(self) -> bool:
        """Say whether nobody was in it before."""
        return not self.before

    @property
    def is_lost(self) -> bool:
        """Say whether nobody is in it now."""
        return not self.now


def compared(
    now: Campaign,
    before: Campaign,
    names: Sequence[str],
    limit: int,
    offset: int,
    *,
    search: str = "",
    unchanged: bool = False,
    cut: int | None = None,
) -> list[Compared]:
    """Give a page of the groups of both, those that came or went first; `unchanged` ones too when they are wanted.

    With `cut` that many characters of each cell.
    """
    now_sql, now_params = grouped(now, names, search)
    before_sql, before_params = grouped(before, names, search)
    page = COMPARED.format(now=now_sql, before=before_sql)
    params = [*now_params, *before_params, unchanged, limit, offset]
    found = with_content(page, params, "digest, before, now", ORDER, cut)
    return [
        Compared(str(Key(tuple(names), digest)), digest, hosts_before, hosts_now, json.loads(content))
        for content, digest, hosts_before, hosts_now in found
    ]


def earlier_runs(campaign: Campaign, shown: CampaignQuerySet, most: int) -> list[Campaign]:
    """Give those of the campaigns that asked the same SQL: its parent and reruns first, then the newest."""
    kin = Q(pk=campaign.parent_id) | Q(parent=campaign)
    same = shown.alias(digest=MD5("sql")).filter(digest=MD5(Value(campaign.sql)), sql=campaign.sql)
    is_kin = Case(When(kin, then=Value(0)), default=Value(1))
    return list(same.exclude(pk=campaign.pk).order_by(is_kin, "-pk")[:most])
