"""The console's campaigns: pages and fragments. Each view permits, reads, calls one verb, and renders.

No page needs a script to be read, and none has one inline, so a strict Content-Security-Policy goes with each.
"""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents.models import Host, Presence
from campaigns.answers.carves import carves_of
from campaigns.answers.times import answer_times
from campaigns.console import wording
from campaigns.console.access import needs_sight
from campaigns.console.control_pages import control_context
from campaigns.console.forms import StopForm, TargetsForm
from campaigns.console.group_pages import groups_context
from campaigns.console.lookups import found_campaign, no_such_campaign, page_of
from campaigns.console.row_pages import rows_context
from campaigns.models import Campaign, Target
from campaigns.states import State

ERROR_GROUPS = 100
CARVES_SHOWN = 200
TABS = [("rows", "Answers"), ("groups", "Groups"), ("hosts", "Hosts"), ("errors", "Errors")]
EXPORTS = ["csv", "ndjson", "json"]


@needs_sight()
@require_GET
def campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a campaign: its counts, its first rows, and what the live part needs."""
    shown = found_campaign(campaign_id)
    if shown is None:
        return no_such_campaign(request, campaign_id)
    tab = request.GET.get("tab", "")
    tab = tab if tab in dict(TABS) else "rows"
    context = {
        "campaign": shown,
        "tab": tab,
        "tabs": TABS,
        "exports": [(kind, reverse(f"campaign-export.{kind}", args=[shown.pk])) for kind in EXPORTS],
        **control_context(request, shown),
        "stop_form": StopForm(),
        "carves": carves_of(shown)[:CARVES_SHOWN],
        **live_context(shown, request.GET if tab == "rows" else None),
    }
    if tab == "hosts":
        context |= _hosts_context(request, shown)
    elif tab == "errors":
        context |= _errors_context(shown)
    elif tab == "groups":
        context |= groups_context(request, shown)
    return render(request, "campaigns/campaign.html", context)


def live_context(shown: Campaign, asked: QueryDict | None = None) -> dict[str, Any]:
    """Give what the live part starts from, with the rows that are asked for; the admin's page uses it too."""
    return {
        **rows_context(shown, asked or QueryDict()),
        "columns_json": json.dumps(shown.columns),
        "left": _seconds_left(shown),
        "ending": wording.ending(shown),
        "times": times_of(shown),
        "errors_count": shown.count_failed + shown.count_denylisted,
    }


def times_of(shown: Campaign) -> dict[str, Any]:
    """Give when answers came, with the points of their curve in a box of 200 by 24."""
    found = answer_times(shown)
    most = max(found.curve, default=0)
    points = [(0.0, 23.0)] + [
        (200 * (step + 1) / len(found.curve), 23 - 22 * count / most) for step, count in enumerate(found.curve)
    ]
    return {
        "first": found.first,
        "median": found.median,
        "last": found.last,
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
    }


@needs_sight()
@require_GET
def campaign_times(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show when answers came."""
    shown = found_campaign(campaign_id)
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_times.html", {"campaign": shown, "times": times_of(shown)})


def _seconds_left(shown: Campaign) -> float | None:
    if shown.ends_at is None or shown.is_over:
        return None
    return max(0.0, (shown.ends_at - timezone.now()).total_seconds())


@needs_sight()
@require_GET
def campaign_hosts(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a page of the campaign's hosts and their states."""
    shown = found_campaign(campaign_id)
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_hosts.html", {"campaign": shown, **_hosts_context(request, shown)})


def _hosts_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    form = TargetsForm(request.GET)
    form.is_valid()
    state, search = form.cleaned_data.get("state", ""), form.cleaned_data.get("search", "")
    targets = Target.objects.filter(campaign=shown).order_by("host_id")
    if state:
        targets = targets.filter(state=state)
    if search:
        targets = targets.filter(Q(hostname__icontains=search) | Q(error__icontains=search))
    known = None if search else shown.counts[state or "targeted"]
    page = page_of(targets, request, known)
    ids = [target.host_id for target in page]
    online = Presence.objects.online(timezone.now()).filter(host_id__in=ids)
    return {
        "targets_form": form,
        "page": page,
        "question": urlencode({name: value for name, value in form.cleaned_data.items() if value}),
        "online": set(online.values_list("host_id", flat=True)),
        "doubts": _doubts(ids),
    }


def _doubts(host_ids: Iterable[int]) -> dict[int, str]:
    """Name those of the hosts whose key a second machine uses, and how it was noticed."""
    doubted = Host.objects.filter(pk__in=host_ids).exclude(in_doubt_since=None)
    return dict(doubted.values_list("pk", "in_doubt_reason"))


@needs_sight()
@require_GET
def campaign_errors(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what went wrong, the same errors of many hosts as one."""
    shown = found_campaign(campaign_id)
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_errors.html", {"campaign": shown, **_errors_context(shown)})


def _errors_context(shown: Campaign) -> dict[str, Any]:
    wrong = Target.objects.filter(campaign=shown, state__in=[State.FAILED, State.DENYLISTED])
    groups = wrong.values("state", "error").annotate(hosts=Count("pk")).order_by("-hosts", "error")
    return {"groups": groups[:ERROR_GROUPS], "groups_limit": ERROR_GROUPS}
