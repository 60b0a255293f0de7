"""The console's campaigns: pages and fragments. Each view permits, reads, calls one verb, and renders.

No page needs a script to be read, and none has one inline, so a strict Content-Security-Policy goes with each.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.board.operator_verbs import RELEASED_ALL
from agents.models import Host, Presence
from campaigns.answers import groups
from campaigns.answers.carves import carves_of
from campaigns.console import wording
from campaigns.console.access import CHANGE, LAUNCH, LOOK, needs, number_of, user_of
from campaigns.console.forms import HistoryForm, StopForm, TargetsForm
from campaigns.launching import launch, reruns
from campaigns.models import FINAL_STATES, OVER, Campaign, Result, State, Target
from fleet.errors import FleetError
from fleet.readiness import health

PER_PAGE = 50
FIRST_ROWS = 100  # in the page itself, for those without scripts
ERROR_GROUPS = 100
GROUPS_SHOWN, HOSTS_OF_GROUP = 100, 200
CARVES_SHOWN = 200
TROUBLES_SECONDS = 10
TABS = [("rows", "Rows"), ("groups", "Groups"), ("hosts", "Hosts"), ("errors", "Errors")]
EXPORTS = ["csv", "ndjson", "json"]


# --- Campaigns -------------------------------------------------------------------------------------------------


@needs(LOOK)
@require_GET
def campaigns(request: HttpRequest) -> HttpResponse:
    """Show the history."""
    form = HistoryForm(request.GET)
    form.is_valid()
    page = _page_of(_found(form.cleaned_data), request)
    context = {
        "form": form,
        "page": page,
        "question": _question(request),
        "under_way": any(not campaign.is_over for campaign in page),
    }
    return render(request, "campaigns/campaigns.html", context)


def _found(wanted: dict[str, Any]) -> QuerySet[Campaign]:
    found: QuerySet[Campaign] = Campaign.objects.select_related("created_by").defer("columns", "target")
    if search := wanted.get("search"):
        number = Q(pk=number_of(search.lstrip("#")))
        found = found.filter(Q(name__icontains=search) | Q(sql__icontains=search) | number)
    if wanted.get("status") == "open":
        return found.exclude(status__in=OVER)
    return found.filter(status=wanted["status"]) if wanted.get("status") else found


def _page_of(rows: Any, request: HttpRequest, count: int | None = None) -> "Page[Any]":
    paginator = Paginator(rows, PER_PAGE)
    if count is not None:
        paginator.count = count  # known already: not counted again
    return paginator.get_page(request.GET.get("page"))


def _question(request: HttpRequest) -> str:
    """Give the page's question without its page number, to build links on."""
    asked = request.GET.copy()
    asked.pop("page", None)
    return asked.urlencode()


# --- one campaign ----------------------------------------------------------------------------------------------


@needs(LOOK)
@require_GET
def campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a campaign: its counts, its first rows, and what the live part needs."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    tab = request.GET.get("tab", "")
    tab = tab if tab in dict(TABS) else "rows"
    context = {
        "campaign": shown,
        "tab": tab,
        "tabs": TABS,
        "exports": [(kind, reverse(f"campaign-export.{kind}", args=[shown.pk])) for kind in EXPORTS],
        **_control_context(request, shown),
        "stop_form": StopForm(),
        "carves": carves_of(shown)[:CARVES_SHOWN],
        **live_context(shown),
    }
    if tab == "hosts":
        context |= _hosts_context(request, shown)
    elif tab == "errors":
        context |= _errors_context(shown)
    elif tab == "groups":
        context |= _groups_context(request, shown)
    return render(request, "campaigns/campaign.html", context)


def live_context(shown: Campaign) -> dict[str, Any]:
    """Give what the live part starts from; the admin's page uses it too."""
    first_rows = _first_rows(shown)
    return {
        "first_rows": first_rows,
        "doubts_of_rows": _doubts({result.host_id for result, _ in first_rows}),
        "columns_json": json.dumps(shown.columns),
        "left": _seconds_left(shown),
        "ending": wording.ending(shown),
        "errors_count": shown.count_failed + shown.count_denylisted,
    }


def _first_rows(shown: Campaign) -> list[tuple[Result, list[Any]]]:
    """Give the first rows with their results. Only results whose rows are shown are read: each may be large."""
    results = Result.objects.filter(campaign=shown, row_count__gt=0).order_by("seq")
    wanted, rows = [], 0
    for pk, row_count in results.values_list("pk", "row_count")[:FIRST_ROWS]:
        if rows >= FIRST_ROWS:
            break
        wanted.append(pk)
        rows += row_count
    lines = [(result, row) for result in results.filter(pk__in=wanted) for row in result.rows][:FIRST_ROWS]
    return [(result, [row.get(column, "") for column in shown.columns]) for result, row in lines]


def _seconds_left(shown: Campaign) -> float | None:
    if shown.ends_at is None or shown.is_over:
        return None
    return max(0.0, (shown.ends_at - timezone.now()).total_seconds())


def may_stop(user: User, shown: Campaign) -> bool:
    """Say whether this person may stop it: who launched it always may."""
    mine = shown.created_by_id == user.pk
    return not shown.is_over and not shown.ended_by and (mine or user.has_perm(CHANGE))


def _campaign(campaign_id: int) -> Campaign | None:
    found: Campaign | None = (
        Campaign.objects.select_related("created_by", "query", "parent").filter(pk=campaign_id).first()
    )
    return found


def _no_such_campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    return render(request, "campaigns/missing.html", {"campaign_id": campaign_id}, status=404)


@needs(LOOK)
@require_GET
def campaign_hosts(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show a page of the campaign's hosts and their states."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
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
    page = _page_of(targets, request, known)
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


@needs(LOOK)
@require_GET
def campaign_errors(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what went wrong, the same errors of many hosts as one."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_errors.html", {"campaign": shown, **_errors_context(shown)})


def _errors_context(shown: Campaign) -> dict[str, Any]:
    wrong = Target.objects.filter(campaign=shown, state__in=[State.FAILED, State.DENYLISTED])
    groups = wrong.values("state", "error").annotate(hosts=Count("pk")).order_by("-hosts", "error")
    return {"groups": groups[:ERROR_GROUPS], "groups_limit": ERROR_GROUPS}


@needs(LOOK)
@require_GET
def campaign_groups(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what hosts have in common: the same answer, or the same values of some columns."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    return render(request, "campaigns/_groups.html", {"campaign": shown, **_groups_context(request, shown)})


def _groups_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    by = request.GET.get("by", "")
    if by not in shown.columns:  # none, or one that another campaign has
        by = ""
    order = "hosts" if request.GET.get("order") == "hosts" else "-hosts"
    found = groups.groups(shown, by, order, GROUPS_SHOWN + 1, 0)
    return {
        "by": by,
        "rarest_first": order == "hosts",
        "found": found[:GROUPS_SHOWN],
        "more_groups": len(found) > GROUPS_SHOWN,
        "most_groups": GROUPS_SHOWN,
    }


@needs(LOOK)
@require_GET
def group_hosts(request: HttpRequest, campaign_id: int, key: str) -> HttpResponse:
    """Name the hosts of a group."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    try:
        members = groups.members(shown.pk, groups.Key.read(key))
    except FleetError:
        return HttpResponse("There is no such group.", status=404)
    names = list(members.values_list("hostname", flat=True)[: HOSTS_OF_GROUP + 1])
    context = {"names": names[:HOSTS_OF_GROUP], "more": len(names) > HOSTS_OF_GROUP, "most": HOSTS_OF_GROUP}
    return render(request, "campaigns/_group_hosts.html", context)


@needs(LOOK)
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask whether to stop, or stop."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    if not may_stop(user_of(request), shown):
        return _may_not_stop(request, shown)
    form = StopForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "campaigns/stop.html", {"campaign": shown, "stop_form": form})
    try:
        launch.stop(shown.pk, user_of(request).get_username(), form.cleaned_data["reason"] or "stopped by hand")
    except FleetError as error:
        form.add_error(None, error.sentence)
        return render(request, "campaigns/stop.html", {"campaign": shown, "stop_form": form}, status=error.status)
    return redirect("campaign", shown.pk)


@needs(LOOK)
@require_GET
def control(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show how far the campaign goes, and the buttons that change it. Over: htmx asks no more (status 286)."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    context = {"campaign": shown, **_control_context(request, shown)}
    return render(request, "campaigns/_control.html", context, status=286 if shown.is_over else 200)


def _control_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    return {
        "may_stop": may_stop(user_of(request), shown),
        "held": shown.released != RELEASED_ALL,
        "again": _again(shown) if shown.is_over and request.user.has_perm(LAUNCH) else [],
        "reruns": shown.reruns.order_by("pk"),
    }


def _again(shown: Campaign) -> list[tuple[State, str, int, bool]]:
    """Give the states whose hosts may be asked again, with their number, and whether most people want them.

    Hosts that denylisted the SQL refuse it for a day; those that lack a table always will.
    """
    counts = shown.counts
    unwanted = (State.ANSWERED, State.UNSUPPORTED, State.DENYLISTED)
    return [
        (state, state.label, counts[state], state not in unwanted)
        for state in map(State, FINAL_STATES)
        if counts[state] and state != State.ANSWERED
    ]


@needs(LAUNCH)
@require_POST
def rerun(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask the hosts that ended in the chosen states again, and go there."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    try:
        again = reruns.rerun(shown, request.POST.getlist("states"), user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("campaign", shown.pk)
    return redirect("campaign", again.pk)


@needs(LOOK)
@require_POST
def pause(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Hand the campaign out no more for now."""
    return _change(request, campaign_id, launch.pause)


@needs(LOOK)
@require_POST
def resume(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Go on."""
    return _change(request, campaign_id, launch.resume)


@needs(LOOK)
@require_POST
def widen(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Let more hosts be asked."""
    typed = request.POST.get("count", "").strip()
    wanted = {"all": True} if "all" in request.POST else {"count": int(typed) if typed.isdecimal() else typed}
    return _change(request, campaign_id, lambda pk, by: launch.widen(pk, by, wanted))


def _change(request: HttpRequest, campaign_id: int, verb: Callable[[int, str], Campaign]) -> HttpResponse:
    """Do what was asked for and show the campaign again, or what is said against it."""
    shown = _campaign(campaign_id)
    if shown is None:
        return _no_such_campaign(request, campaign_id)
    if not may_stop(user_of(request), shown):
        return _may_not_stop(request, shown)
    try:
        verb(shown.pk, user_of(request).get_username())
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("campaign", shown.pk)


def _may_not_stop(request: HttpRequest, shown: Campaign) -> HttpResponse:
    """Say which permission is missing, or that there is nothing to stop any more."""
    if shown.is_over or shown.ended_by:
        return redirect("campaign", shown.pk)
    return render(request, "campaigns/denied.html", {"permission": CHANGE}, status=403)


# --- troubles --------------------------------------------------------------------------------------------------


@needs(LOOK)
@require_GET
def troubles(request: HttpRequest) -> HttpResponse:
    """Say what is wrong with the server, if anything; looked up once for all viewers of this process."""
    found = cache.get_or_set("readiness", health, TROUBLES_SECONDS)
    return render(request, "campaigns/_troubles.html", {"health": found})
