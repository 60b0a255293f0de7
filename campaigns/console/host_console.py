"""The console of one host: SQL in, its rows out in about a second, and what was asked of it before."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents.models import Host
from campaigns.answers.audit import note_read
from campaigns.console.access import needs, needs_to_launch, user_of
from campaigns.console.host_pages import found_host, no_such_host
from campaigns.console.lookups import found_campaign
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Result, Target
from campaigns.people.roles import SEE_HOSTS
from fleet.errors import FleetError

TIMEOUT = 60  # seconds
ROWS_SHOWN, FEWEST_ROWS, COLUMNS_SHOWN = 500, 30, 60
ELEMENTS = 2_400  # that rows may have
OVER_FOR_HTMX = 286  # the status that ends polling


@needs_to_launch()
@needs(SEE_HOSTS)
@require_POST
def ask(request: HttpRequest, host_id: int) -> HttpResponse:
    """Ask this host alone, and show the place where its answer appears."""
    shown = found_host(host_id, user_of(request))
    if shown is None:
        return no_such_host(request, host_id)
    text = request.POST.get("sql", "")
    try:
        campaign = launch(Order(text, {"hosts": [shown.pk]}, TIMEOUT), user_of(request))
    except FleetError as error:
        return render(request, "campaigns/_host_answer.html", {"host": shown, "sql": text, "error": error.sentence})
    return render(request, "campaigns/_host_answer.html", context_of(shown, campaign))


@needs_to_launch()
@needs(SEE_HOSTS)
@require_GET
def answer(request: HttpRequest, host_id: int, campaign_id: int) -> HttpResponse:
    """Show what came of it so far."""
    shown = found_host(host_id, user_of(request))
    visible = Campaign.objects.visible_to(user_of(request))
    campaign = visible.filter(pk=campaign_id, target={"hosts": [host_id]}).first()
    if shown is None or campaign is None:
        return no_such_host(request, host_id)
    note_read(f"campaign {campaign_id}", "page", request)
    context = context_of(shown, campaign)
    status = 200 if context["waits"] else OVER_FOR_HTMX
    return render(request, "campaigns/_host_answer.html", context, status=status)


@needs(SEE_HOSTS)
@require_GET
def last_answer(request: HttpRequest, host_id: int, campaign_id: int) -> HttpResponse:
    """Show the rows of an answer of this host that is known still."""
    shown, campaign = found_host(host_id, user_of(request)), found_campaign(campaign_id, user_of(request))
    if shown is None or campaign is None:
        return no_such_host(request, host_id)
    note_read(f"campaign {campaign_id}", "page", request)
    return render(request, "campaigns/_host_answer.html", {**context_of(shown, campaign), "waits": False})


def context_of(shown: Host, campaign: Campaign) -> dict[str, Any]:
    """Give what the host answered so far, as the page shows it."""
    result = Result.objects.filter(campaign=campaign, host=shown).first()
    target = Target.objects.filter(campaign=campaign, host=shown).first()
    if result is not None and not campaign.limits:  # a copy for who sees a part has the columns of that
        campaign.refresh_from_db(fields=["columns"])  # committed with the result; what was read before may lack them
    columns = campaign.columns[:COLUMNS_SHOWN]
    rows = result.rows[: min(ROWS_SHOWN, max(FEWEST_ROWS, ELEMENTS // (len(columns) + 1)))] if result else []
    return {
        "host": shown,
        "campaign": campaign,
        "sql": campaign.sql,
        "result": result,
        "target": target,
        "columns": columns,
        "more_columns": len(campaign.columns) - len(columns),
        "rows": [[row.get(column, "") for column in columns] for row in rows],
        "more": max(0, result.row_count - len(rows)) if result else 0,
        "waits": result is None and not campaign.is_over,
        "online": shown.is_online(timezone.now()),
    }
