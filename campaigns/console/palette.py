"""What Ctrl-K finds: places, hosts, queries, campaigns, labels and tables, each for those who may go there."""

from collections.abc import Iterator
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from agents.models import Label, Platform
from campaigns.console import wording
from campaigns.console.access import needs, number_of, user_of
from campaigns.console.order import BY_NAME
from campaigns.console.places import places_of
from campaigns.models import Campaign, Query
from campaigns.people import scopes
from campaigns.people.roles import LAUNCH, SEE_HOSTS, SEE_LABELS, SEE_QUERIES

OF_EACH = 5  # shown
LONGEST = 200  # characters of what is looked for


class Hit(NamedTuple):
    """One thing to go to."""

    kind: str
    icon: str
    name: str
    note: str
    address: str


@needs()
@require_GET
def find(request: HttpRequest) -> HttpResponse:
    """Show what is like the words typed, places first."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST]
    hits = list(_hits(user_of(request), words))
    return render(request, "campaigns/_palette_hits.html", {"hits": hits, "words": words})


def _hits(user: User, words: str) -> Iterator[Hit]:
    for place in places_of(user, ""):
        if words.lower() in place.name.lower():
            yield Hit("page", place.icon, place.name, "", place.address)
    if not words:
        return
    if user.has_perm(SEE_HOSTS):
        yield from _hosts(user, words)
    if user.has_perm(SEE_QUERIES):
        for query in Query.objects.filter(Q(name__icontains=words) | Q(sql__icontains=words)).order_by(*BY_NAME)[
            :OF_EACH
        ]:
            yield Hit("query", "book-open", query.name, query.description, reverse("query", args=[query.pk]))
    yield from _campaigns(user, words)
    if user.has_perm(SEE_LABELS):
        for label in Label.objects.filter(name__icontains=words).order_by(*BY_NAME)[:OF_EACH]:
            yield Hit("label", "tags", label.name, label.description, reverse("label", args=[label.pk]))
    if user.has_perm(LAUNCH):
        yield from _tables(user, words)


def _hosts(user: User, words: str) -> Iterator[Hit]:
    """Give hosts; revoked ones where there is room."""
    found = scopes.hosts_for(user).searched(words)
    enrolled = list(found.enrolled()[:OF_EACH])
    for host in (*enrolled, *found.exclude(revoked_at=None)[: OF_EACH - len(enrolled)]):
        note = f"#{host.pk} {'revoked' if host.revoked_at else host.os_name}"
        yield Hit("host", "server", host.hostname, note, reverse("host", args=[host.pk]))


def _campaigns(user: User, words: str) -> Iterator[Hit]:
    number = Q(pk=number_of(words.lstrip("#")))
    found = Campaign.objects.visible_to(user).filter(Q(name__icontains=words) | Q(sql__icontains=words) | number)
    for campaign in found[:OF_EACH]:
        note = f"#{campaign.pk} {wording.state_word(campaign)}"
        yield Hit("campaign", "radio", wording.title(campaign), note, reverse("campaign", args=[campaign.pk]))


def _tables(user: User, words: str) -> Iterator[Hit]:
    """Give tables whose name has the words; going there begins a question about one."""
    for table in scopes.tables_for(user, "", words)[:OF_EACH]:
        on = ", ".join(label for value, label in Platform.choices if value in table["platforms"])
        sql = urlencode({"sql": f"SELECT * FROM {table['name']}"})  # noqa: S608 - put into the editor, not run
        yield Hit("table", "terminal", table["name"], on, f"{reverse('ask')}?{sql}")
