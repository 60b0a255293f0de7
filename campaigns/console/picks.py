"""What can be meant, to choose from: labels, platforms and hosts, found by words, with how many hosts each means."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db.models import Count
from django.utils import timezone

from agents.models import Host, HostQuerySet, Label, LabelMembership, Platform
from campaigns.console.order import BY_NAME
from campaigns.people import scopes
from fleet.text import is_text

LABELS_SHOWN, FOUND_OF_EACH = 40, 8


class Box(NamedTuple):
    """One thing to tick; `hosts` = None when there is no such thing any more."""

    value: str
    name: str
    hosts: int | None
    is_picked: bool


class Boxes(NamedTuple):
    """Things to tick, and how many more there are."""

    shown: list[Box]
    left_out: int


class FoundHost(NamedTuple):
    """A host, and what is written to mean it and no other: its name, or its id when the name would not do."""

    host: Host
    is_online: bool
    last_seen: datetime | None
    written: str


def labels(user: User, words: str = "", picked: Collection[str] = ()) -> Boxes:
    """Give those that are picked, then the first of those whose name holds the words."""
    chosen = dict.fromkeys(filter(is_text, picked))
    others = Label.objects.filter(name__icontains=words).exclude(name__in=chosen).order_by(*BY_NAME)
    found = [*Label.objects.filter(name__in=chosen).order_by(*BY_NAME), *others[:LABELS_SHOWN]]
    counts = _members(user, [label.pk for label in found])
    boxes = [Box(label.name, label.name, counts.get(label.pk, 0), label.name in chosen) for label in found]
    known = {box.value for box in boxes}
    gone = [Box(name, name, None, is_picked=True) for name in chosen if name not in known]
    return Boxes(gone + boxes, max(0, others.count() - LABELS_SHOWN))


def _members(user: User, ids: list[int]) -> dict[int, int]:
    members = LabelMembership.objects.filter(label_id__in=ids, host__revoked_at=None).order_by()
    members = scopes.within(members, user)
    return dict(members.values_list("label_id").annotate(Count("pk")))


def platforms(visible: HostQuerySet, picked: Collection[str] = (), words: str = "") -> list[Box]:
    """Give the platforms whose name holds the words."""
    counts = dict(visible.enrolled().order_by().values_list("platform").annotate(Count("pk")))
    return [
        Box(value, str(label), counts.get(value, 0), value in picked)
        for value, label in Platform.choices
        if words.lower() in f"{value} {label}".lower()
    ]


def hosts(visible: HostQuerySet, words: str) -> tuple[list[FoundHost], bool]:
    """Give enrolled hosts that are like the words, those first whose name begins so; and whether there are more."""
    enrolled = visible.enrolled().select_related("presence").order_by("hostname", "pk")
    found = list(enrolled.filter(hostname__istartswith=words)[: FOUND_OF_EACH + 1])
    if len(found) <= FOUND_OF_EACH:
        others = enrolled.searched(words).exclude(pk__in=[host.pk for host in found])
        found += others[: FOUND_OF_EACH + 1 - len(found)]
    return _with_presence(visible, found[:FOUND_OF_EACH]), len(found) > FOUND_OF_EACH


def told_apart(visible: HostQuerySet, ids: Collection[int], most: int) -> list[FoundHost]:
    """Give these hosts, the first of them by name."""
    hosts = visible.filter(pk__in=ids).select_related("presence").order_by("hostname", "pk")
    return _with_presence(visible, list(hosts[:most]))


def _with_presence(visible: HostQuerySet, found: list[Host]) -> list[FoundHost]:
    now = timezone.now()
    return [FoundHost(host, host.is_online(now), _last_seen(host), _written(visible, host)) for host in found]


def _last_seen(host: Host) -> datetime | None:
    return host.presence.last_seen if hasattr(host, "presence") else None


def _written(visible: HostQuerySet, host: Host) -> str:
    """Give the hostname where it means this host alone, of those visible, and reads as one name; else the id."""
    name = host.hostname
    is_plain = name.isprintable() and name == name.strip() and not set(name) & set(",;") and not name.startswith("#")
    if not (name and is_plain):
        return f"#{host.pk}"
    alone = not visible.enrolled().filter(hostname__iexact=name).exclude(pk=host.pk).exists()
    return name if alone else f"#{host.pk}"
