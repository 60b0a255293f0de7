"""The console's places, as its menu shows them: each to those who may go there."""

from collections.abc import Iterable
from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse

from campaigns.launching import requests, rule_wishes
from campaigns.people import scopes
from campaigns.people.roles import (
    APPROVE,
    KEEP_HOOKS,
    LAUNCH,
    LAUNCH_FLAGGED,
    LOOK,
    SEE_AUDIT,
    SEE_CONFIG,
    SEE_HOSTS,
    SEE_LABELS,
    SEE_PEOPLE,
    SEE_QUERIES,
    SEE_SECRETS,
    SWITCH,
)


class Place(NamedTuple):
    """One entry of the menu."""

    name: str
    icon: str
    address: str
    is_here: bool
    waiting: int = 0  # things there that wait for this person


APPROVALS = "Approvals"
# name, icon, permissions of which one is enough, and entrances: what lies below them lies there
PLACES = (
    ("Home", "house", (LOOK, LAUNCH, LAUNCH_FLAGGED, SEE_HOSTS), ("home",)),
    ("Ask", "terminal", (LAUNCH, LAUNCH_FLAGGED), ("ask",)),
    ("Campaigns", "radio", (LOOK, LAUNCH, LAUNCH_FLAGGED), ("campaigns",)),
    (APPROVALS, "users", (APPROVE, LAUNCH, LAUNCH_FLAGGED), ("approvals",)),
    ("Hosts", "server", (SEE_HOSTS,), ("hosts",)),
    ("Labels", "tags", (SEE_LABELS,), ("labels",)),
    ("Queries", "book-open", (SEE_QUERIES,), ("queries", "schedules")),
    ("People", "user", (SEE_PEOPLE,), ("people",)),
    ("Audit", "scroll-text", (SEE_AUDIT,), ("audit",)),
    ("Settings", "settings", (SEE_SECRETS, SEE_CONFIG, SWITCH, KEEP_HOOKS), ("settings",)),
)
FOR_WHO_SEES_ALL = ("Audit",)  # tells of every host, and cannot be narrowed


def places_of(user: User | AnonymousUser, at: str) -> list[Place]:
    """Give the places this person may go to; `at` is the address that is shown."""
    return [
        _place(user, name, icon, [reverse(entrance) for entrance in entrances], at)
        for name, icon, permissions, entrances in PLACES
        if _may_go(user, name, permissions)
    ]


def may_go_anywhere(user: User | AnonymousUser) -> bool:
    """Say whether there is any place to which this person may go, without counting what waits there."""
    return any(_may_go(user, name, permissions) for name, _, permissions, _ in PLACES)


def _may_go(user: User | AnonymousUser, name: str, permissions: Iterable[str]) -> bool:
    if not any(user.has_perm(permission) for permission in permissions):
        return False
    return not (name in FOR_WHO_SEES_ALL and scopes.is_limited(user))


def _place(user: User | AnonymousUser, name: str, icon: str, addresses: list[str], at: str) -> Place:
    is_here = any(at == address if address == "/" else at.startswith(address) for address in addresses)
    waiting = requests.count_waiting_for(user) + len(rule_wishes.waiting_for(user)) if name == APPROVALS else 0
    return Place(name, icon, addresses[0], is_here, waiting)
