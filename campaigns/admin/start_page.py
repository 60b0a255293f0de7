"""The admin's start page: figures of the fleet, of questions and of the machine, each to those who may look at it."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from django.contrib.auth.models import User
from django.db.models import Count, Model, Q, Sum
from django.http import HttpRequest
from django.utils import timezone

from agents.board.health import health
from agents.models import EnrollSecret, Host, presence_is_online
from campaigns.admin.menu import address_of, groups, may_look
from campaigns.collecting.models import DeadLetter
from campaigns.launching import kill_switch
from campaigns.launching.models import LiveQueries
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.states import OVER
from campaigns.tokens import ApiToken
from fleet.counting import plural


class Figure(NamedTuple):
    """A number, what it counts, and where more is said."""

    name: str
    value: str
    note: str
    address: str
    is_bad: bool = False


def with_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to what Unfold shows on the start page."""
    return {
        **context,
        "title": "Start",
        "figures": list(_figures(request)),
        "menu": [group for group in groups(request) if group["title"]],
        "health": health(),
    }


def _figures(request: HttpRequest) -> Iterator[Figure]:
    for model, figures in FIGURES.items():
        if may_look(request, model):
            yield from figures(address_of(model), cast(User, request.user))


def _hosts(address: str, user: User) -> Iterator[Figure]:
    counted = (
        scopes.hosts_for(user)
        .enrolled()
        .aggregate(
            enrolled=Count("pk"),
            online=Count("pk", filter=presence_is_online(timezone.now(), "presence__")),
            in_doubt=Count("pk", filter=Q(in_doubt_since__isnull=False)),
        )
    )
    yield Figure("Hosts online", f"{counted['online']:,}", f"of {counted['enrolled']:,} enrolled", address)
    if counted["in_doubt"]:
        yield Figure("In doubt", f"{counted['in_doubt']:,}", "hosts that may be two machines", address, is_bad=True)


def _campaigns(address: str, user: User) -> Iterator[Figure]:
    visible = Campaign.objects.visible_to(user) if scopes.is_limited(user) else Campaign.objects.all()
    counted = visible.order_by().aggregate(
        all=Count("pk"),
        open=Count("pk", filter=~Q(status__in=OVER)),
        answers=Sum("count_answered"),
        rows=Sum("count_rows"),
    )
    yield Figure("Campaigns under way", f"{counted['open']:,}", f"of {counted['all']:,} kept", address)
    if scopes.is_limited(user):
        return  # answers of all hosts are counted, not those of some
    rows = f"{counted['rows'] or 0:,} {plural(counted['rows'], 'row')}"
    yield Figure("Answers kept", f"{counted['answers'] or 0:,}", rows, address)


def _switch(address: str, user: User) -> Iterator[Figure]:
    on = kill_switch.is_on()
    yield Figure("Live queries", "on" if on else "off", "the kill switch", address, is_bad=not on)


def _people(address: str, user: User) -> Iterator[Figure]:
    counted = User.objects.aggregate(
        active=Count("pk", filter=Q(is_active=True)),
        above=Count("pk", filter=Q(is_active=True, is_superuser=True)),
    )
    above = f"{counted['above']:,} of them {plural(counted['above'], 'a superuser', 'superusers')}"
    yield Figure("People", f"{counted['active']:,}", above, address)


def _tokens(address: str, user: User) -> Iterator[Figure]:
    valid = ApiToken.objects.filter(Q(expiry=None) | Q(expiry__gt=timezone.now())).count()
    yield Figure("Tokens of the API", f"{valid:,}", "valid now", address)


def _secrets(address: str, user: User) -> Iterator[Figure]:
    yield Figure("Enroll secrets", f"{EnrollSecret.objects.filter(revoked_at=None).count():,}", "not revoked", address)


def _dead_letters(address: str, user: User) -> Iterator[Figure]:
    many = DeadLetter.objects.count()
    yield Figure("Dead letters", f"{many:,}", "answers that could not be stored", address, is_bad=many > 0)


FIGURES: dict[type[Model], Any] = {
    Host: _hosts,
    Campaign: _campaigns,
    LiveQueries: _switch,
    User: _people,
    ApiToken: _tokens,
    EnrollSecret: _secrets,
    DeadLetter: _dead_letters,
}
