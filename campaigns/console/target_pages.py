"""A campaign's hosts, as tabs of its page: the list, and what went wrong grouped. Reads only."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents.inventory import labels
from agents.models import Host, Label
from campaigns.answers import target_list
from campaigns.answers.target_list import TargetFilter
from campaigns.console.access import needs_sight, user_of
from campaigns.console.forms import TargetsForm
from campaigns.console.lookups import found_campaign, no_such_campaign, page_of
from campaigns.console.order import BY_NAME
from campaigns.models import Campaign, Target
from campaigns.people import scopes
from campaigns.people.roles import LAUNCH

ERROR_GROUPS, HOSTS_OF_ERROR = 100, 8
LABELS_OFFERED = 200
# name of the order, heading, whether it holds numbers
COLUMNS = (
    ("host", "host", False),
    ("state", "state", False),
    ("seen", "last seen", False),
    ("delivered", "delivered", False),
    ("deliveries", "times", True),
    ("answered", "answered", False),
    ("rows", "rows", True),
    ("wall", "took", True),
    ("cpu", "CPU", True),
    ("memory", "memory", True),
    ("error", "error", False),
)


class Heading(NamedTuple):
    """A column's heading: what it says, the question that sorts by it or turns it round, and how it is sorted now."""

    name: str
    words: str
    is_number: bool
    question: str
    sorted: str


@needs_sight()
@require_GET
def campaign_hosts(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a page of the campaign's hosts and their states."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_hosts.html", {"campaign": shown, **hosts_context(request, shown)})


def hosts_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give a page of the hosts as the address asks for them."""
    form = TargetsForm(request.GET)
    form.is_valid()
    asked, order, by, now = form.filter(), form.cleaned_data.get("order", ""), user_of(request), timezone.now()
    found = target_list.ordered(target_list.narrowed(shown, by, asked, now), order)
    hosts = Prefetch("host", Host.objects.select_related("presence").only("hostname", "presence"))  # those of the page
    page = page_of(found.prefetch_related(hosts), request, _known(shown, by, asked))
    question = urlencode({name: value for name, value in form.cleaned_data.items() if value})
    return {
        "targets_form": form,
        "asked": asked,
        "order": order,
        "page": page,
        "question": question,
        "headings": _headings(form.cleaned_data),
        "lines": [(target, target.host.is_online(now)) for target in page],
        "doubts": _doubts(target.host_id for target in page),
        "error_text": _text_of_error(shown, asked, request) if asked.error else "",
        **actions_context(request, shown),
    }


def actions_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Say what this person may do with hosts that are chosen, and which labels there are for them."""
    may_label = request.user.has_perm(labels.CHANGE)
    by_hand = labels.by_hand_for(user_of(request)).order_by(*BY_NAME) if may_label else Label.objects.none()
    return {
        "may_ask_again": request.user.has_perm(LAUNCH),
        "may_label": may_label,
        "may_add_label": request.user.has_perm(labels.MAKE),
        "labels_by_hand": by_hand.values_list("name", flat=True)[:LABELS_OFFERED],
    }


def _known(shown: Campaign, by: User, asked: TargetFilter) -> int | None:
    """Give how many there are where the campaign counted them already, and this person sees them all."""
    is_counted = asked.is_of_state_alone and shown.limits == scopes.limits_of(by)
    return shown.counts[asked.state or "targeted"] if is_counted else None


def _headings(given: dict[str, Any]) -> list[Heading]:
    order = given.get("order", "")
    kept = {name: value for name, value in given.items() if value and name != "order"}
    made = []
    for name, words, is_number in COLUMNS:
        way = {name: "ascending", f"-{name}": "descending"}.get(order, "")
        turned = f"-{name}" if way == "ascending" or (not way and is_number) else name
        made.append(Heading(name, words, is_number, urlencode({**kept, "order": turned}), way))
    return made


def _doubts(host_ids: Iterable[int]) -> dict[int, str]:
    """Name those of the hosts whose key a second machine uses, and how it was noticed."""
    doubted = Host.objects.filter(pk__in=list(host_ids)).exclude(in_doubt_since=None)
    return dict(doubted.values_list("pk", "in_doubt_reason"))


def _text_of_error(shown: Campaign, asked: TargetFilter, request: HttpRequest) -> str:
    alike = target_list.narrowed(shown, user_of(request), TargetFilter(error=asked.error), timezone.now())
    first: Target | None = alike.first()
    return first.error or "no text" if first else "an error that no host has"


@needs_sight()
@require_GET
def campaign_errors(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what went wrong, the same errors of many hosts as one."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_errors.html", {"campaign": shown, **errors_context(request, shown)})


def errors_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give the groups, each with its first hosts."""
    found = target_list.error_groups(shown, user_of(request), ERROR_GROUPS + 1, HOSTS_OF_ERROR)
    return {
        "error_groups": found[:ERROR_GROUPS],
        "more_errors": len(found) > ERROR_GROUPS,
        "may_ask_again": request.user.has_perm(LAUNCH),
    }
