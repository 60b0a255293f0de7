"""The console's places, as its menu shows them: each to those who may go there."""

from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse

from campaigns.launching import requests
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
    """One entry of the menu; `names` are the addresses that lie there."""

    name: str
    icon: str
    address: str
    is_here: bool
    waiting: int = 0  # things there that wait for this person


APPROVALS = "Approvals"
# name, icon, permissions of which one is enough, names of its addresses, the first being the entrance
PLACES = (
    ("Home", "house", (LOOK, LAUNCH, LAUNCH_FLAGGED, SEE_HOSTS), ("home",)),
    ("Ask", "terminal", (LAUNCH, LAUNCH_FLAGGED), ("ask",)),
    ("Campaigns", "radio", (LOOK, LAUNCH, LAUNCH_FLAGGED), ("campaigns", "campaign", "stop-campaign")),
    (APPROVALS, "users", (APPROVE, LAUNCH, LAUNCH_FLAGGED), ("approvals", "approval", "approve", "reject", "withdraw")),
    ("Hosts", "server", (SEE_HOSTS,), ("hosts", "host")),
    ("Labels", "tags", (SEE_LABELS,), ("labels", "label", "new-label")),
    (
        "Queries",
        "book-open",
        (SEE_QUERIES,),
        ("queries", "query", "new-query", "schedules", "schedule", "new-schedule"),
    ),
    ("People", "user", (SEE_PEOPLE,), ("people", "person", "new-team", "team")),
    ("Audit", "scroll-text", (SEE_AUDIT,), ("audit",)),
    (
        "Settings",
        "settings",
        (SEE_SECRETS, SEE_CONFIG, SWITCH, KEEP_HOOKS),
        ("settings", "new-secret", "keep-config", "kill-switch", "hooks", "hook"),
    ),
)


FOR_WHO_SEES_ALL = ("Audit",)  # tells of every host, and cannot be narrowed


def places_of(user: User | AnonymousUser, at: str) -> list[Place]:
    """Give the places this person may go to; `at` is the name of the address that is shown."""
    return [
        Place(name, icon, reverse(names[0]), at in names, requests.count_waiting_for(user) if name == APPROVALS else 0)
        for name, icon, permissions, names in PLACES
        if any(user.has_perm(permission) for permission in permissions)
        and not (name in FOR_WHO_SEES_ALL and scopes.is_limited(user))
    ]
