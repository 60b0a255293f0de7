"""A campaign's hosts as a list: narrowed, sorted, and the same error of many as one.

Reads targets and nothing else. Everybody who looks gets the list through `seen_by`, which is where sight ends.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import MD5, RowNumber

from agents.models import presence_is_online
from campaigns.models import Campaign, Target
from campaigns.people import scopes
from campaigns.states import State

# What a list may be sorted by, and the expression for it. Nothing known stands last, whichever way.
SORTS: dict[str, Any] = {
    "host": F("hostname"),
    "state": F("state"),
    "seen": F("host__presence__last_seen"),
    "delivered": F("delivered_at"),
    "deliveries": F("deliveries"),
    "answered": F("answered_at"),
    "rows": F("row_count"),
    "wall": F("wall_ms"),
    "cpu": F("user_ms") + F("system_ms"),
    "memory": F("memory_bytes"),
    "error": F("error"),
}
YES, NO = "yes", "no"


@dataclass(frozen=True)
class TargetFilter:
    """What is looked for. "" = whatever; `online` is yes or no, `error` the digest of an error's text."""

    state: str = ""
    search: str = ""
    online: str = ""
    error: str = ""

    @property
    def is_of_state_alone(self) -> bool:
        """Say whether the campaign's own counts tell how many there are."""
        return not (self.search or self.online or self.error)


@dataclass(frozen=True)
class ErrorGroup:
    """Hosts that ended alike: their state, the text, its digest, how many, and the first of them."""

    state: str
    error: str
    digest: str
    hosts: int
    first: list[Target]

    @property
    def state_in_words(self) -> str:
        """Give the state in which these hosts ended, as people read it."""
        return str(State(self.state).label)


def seen_by(campaign: Campaign, by: User) -> "QuerySet[Target]":
    """Give the targets of a campaign whose hosts this person may see."""
    return scopes.within(Target.objects.filter(campaign=campaign), by)


def narrowed(campaign: Campaign, by: User, asked: TargetFilter, now: datetime) -> "QuerySet[Target]":
    """Give the targets that are like this."""
    found = seen_by(campaign, by)
    if asked.state:
        found = found.filter(state=asked.state)
    if asked.search:
        found = found.filter(Q(hostname__icontains=asked.search) | Q(error__icontains=asked.search))
    if asked.error:
        found = found.annotate(digest=MD5("error")).filter(digest=asked.error)
    if asked.online:
        is_online = presence_is_online(now, "host__presence__")
        found = found.filter(is_online) if asked.online == YES else found.exclude(is_online)
    return found


def ordered(targets: "QuerySet[Target]", order: str) -> "QuerySet[Target]":
    """Sort by one of SORTS, - before it turns it round; by the hosts' ids for what is none of them."""
    by = SORTS.get(order.removeprefix("-"))
    if by is None:
        return targets.order_by("host_id")
    way = by.desc(nulls_last=True) if order.startswith("-") else by.asc(nulls_last=True)
    return targets.order_by(way, "host_id")


def error_groups(campaign: Campaign, by: User, most: int, first: int) -> list[ErrorGroup]:
    """Give the errors that hosts ended with, the most frequent first, each with its `first` hosts by name.

    Also why a host was never asked, or took too long: whatever bears a text. A reported error may bear none.
    """
    wrong = seen_by(campaign, by).filter(~Q(error="") | Q(state__in=[State.FAILED, State.DENYLISTED])).order_by()
    counted = wrong.values("state", "error").annotate(hosts=Count("pk")).order_by("-hosts", "state", "error")[:most]
    groups = list(counted.annotate(digest=MD5("error")))
    place = Window(RowNumber(), partition_by=[F("state"), F("error")], order_by=[F("hostname"), F("host_id")])
    shown = wrong.filter(error__in=[group["error"] for group in groups]).annotate(place=place).filter(place__lte=first)
    members: dict[tuple[str, str], list[Target]] = {}
    for target in shown.order_by("hostname", "host_id"):
        members.setdefault((target.state, target.error), []).append(target)
    return [
        ErrorGroup(
            group["state"], group["error"], group["digest"], group["hosts"], members[group["state"], group["error"]]
        )
        for group in groups
        if (group["state"], group["error"]) in members
    ]
