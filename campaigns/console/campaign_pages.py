"""The console's campaigns: pages and fragments. Each view permits, reads, calls one verb, and renders.

No page needs a script to be read, and none has one inline, so a strict Content-Security-Policy goes with each.
"""

import json
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from campaigns.answers.audit import note_read
from campaigns.answers.carves import carves_of
from campaigns.answers.times import answer_times
from campaigns.console import wording
from campaigns.console.about_pages import about_context
from campaigns.console.access import needs_sight, user_of
from campaigns.console.analysis_pages import analysis_context
from campaigns.console.control_pages import control_context
from campaigns.console.cost_pages import cost_context
from campaigns.console.forms import StopForm
from campaigns.console.group_pages import groups_context
from campaigns.console.lookups import found_campaign, no_such_campaign
from campaigns.console.row_pages import rows_context
from campaigns.console.target_pages import errors_context, hosts_context
from campaigns.models import Campaign

CARVES_SHOWN = 200
TABS = [
    ("rows", "Answers"),
    ("groups", "Groups"),
    ("hosts", "Hosts"),
    ("errors", "Errors"),
    ("analyse", "Analyse"),
    ("cost", "Cost"),
    ("about", "About"),
]
# What a tab needs when the page begins with it; the rows are there in any case.
CONTEXTS: dict[str, Callable[[HttpRequest, Campaign], dict[str, Any]]] = {
    "groups": groups_context,
    "hosts": hosts_context,
    "errors": errors_context,
    "cost": cost_context,
    "about": about_context,
}
EXPORTS = ["csv", "ndjson", "json", "parquet", "xlsx"]


@needs_sight()
@require_GET
def campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a campaign: its counts, its first rows, and what the live part needs."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    note_read(f"campaign {campaign_id}", "page", request)
    tab = request.GET.get("tab", "")
    tab = tab if tab in dict(TABS) else "rows"
    context = {
        "campaign": shown,
        "tab": tab,
        "tabs": TABS,
        "exports": [(kind, reverse(f"campaign-export.{kind}", args=[shown.pk])) for kind in EXPORTS],
        **control_context(request, shown),
        **analysis_context(request, shown),
        "stop_form": StopForm(),
        "carves": carves_of(shown)[:CARVES_SHOWN],
        **live_context(shown, request.GET if tab == "rows" else None),
    }
    if tab in CONTEXTS:
        context |= CONTEXTS[tab](request, shown)
    return render(request, "campaigns/campaign.html", context)


def live_context(shown: Campaign, asked: QueryDict | None) -> dict[str, Any]:
    """Give what the live part starts from, with the rows that are asked for, if any; the admin's page uses it too."""
    return {
        **rows_context(shown, asked),
        "columns_json": json.dumps(shown.columns),
        "left": _seconds_left(shown),
        "late_seconds": settings.LATE_ANSWER_SECONDS,
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
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_times.html", {"campaign": shown, "times": times_of(shown)})


def _seconds_left(shown: Campaign) -> float | None:
    if shown.left is not None:
        return shown.left.total_seconds()  # it is paused
    if shown.ends_at is None or shown.is_over:
        return None
    return max(0.0, (shown.ends_at - timezone.now()).total_seconds())
