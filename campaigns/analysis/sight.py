"""Which hosts' answers a person may analyse, as a condition for the copies and as a name for it."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection

from campaigns.people import scopes


@dataclass(frozen=True)
class Sight:
    """What of a campaign goes into the copies that a person asks."""

    limits: scopes.Limits
    sees_facts: bool  # of hosts: who may not look at hosts sees their names, platforms and labels alone

    def of(self, column: str) -> tuple[str, list[Any]]:
        """Give the condition on a column that names hosts, and its values."""
        return scopes.condition(self.limits, column)

    def name_for(self, campaign_id: int) -> str:
        """Name what this person sees of a campaign: who sees the same shares a copy, until labels move."""
        facts = "" if self.sees_facts else "-names"
        if self.limits == scopes.UNLIMITED:
            return f"all{facts}"
        condition, values = self.of("host_id")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT md5(string_agg(host_id::text, ',' ORDER BY host_id)) FROM campaigns_target"  # noqa: S608
                f" WHERE campaign_id = %s AND {condition}",
                [campaign_id, *values],
            )
            return f"{cursor.fetchone()[0] or 'none'}{facts}"


def sight_of(user: User | AnonymousUser) -> Sight:
    """Give what a person sees."""
    return Sight(scopes.limits_of(user), user.has_perm("agents.view_host"))
