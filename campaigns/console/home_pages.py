"""Where an operator begins: who is there, what runs, what waits for someone, and good first questions."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents.inventory import online_curve
from agents.models import Platform, presence_is_online
from campaigns.answers import sight
from campaigns.console import online_chart
from campaigns.console.access import needs, needs_one_of, user_of
from campaigns.console.asked_before import saved_queries
from campaigns.console.control_pages import may_stop
from campaigns.console.places import places_of
from campaigns.launching import kill_switch, requests
from campaigns.launching.launch import Order, launch
from campaigns.launching.rollout import ASKS
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import LAUNCH, LAUNCH_FLAGGED, LOOK, SEE_HOSTS, may_launch_something
from campaigns.states import OVER, Status
from fleet.errors import FleetError

UNDER_WAY_SHOWN, RECENT_SHOWN, QUERIES_SHOWN = 12, 6, 8
DAY = timedelta(days=1)
EXAMPLE_SECONDS = 60  # that hosts have to answer an example
# Each runs with one click on a first visit: cheap, on every platform that has the table, and worth knowing.
EXAMPLES = (
    ("Which systems are there?", "SELECT name, version, platform FROM os_version"),
    ("Who is logged in?", "SELECT user, type, host AS from_host, time FROM logged_in_users"),
    ("What listens for connections?", "SELECT name, port, address FROM listening_ports JOIN processes USING (pid)"),
    ("How long since the last start?", "SELECT days, hours, minutes FROM uptime"),
    ("Which osquery runs?", "SELECT version, build_platform, config_valid FROM osquery_info"),
)


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Show the start page, where signing in leads; who has nothing there is led to the first place that he has."""
    places = places_of(request.user, request.path)
    if places and not any(place.is_here for place in places):
        return redirect(places[0].address)
    return _home(request)


@needs_one_of(LOOK, LAUNCH, LAUNCH_FLAGGED, SEE_HOSTS)
def _home(request: HttpRequest) -> HttpResponse:
    """Show it; links of old that brought a question go on to Ask."""
    if {"query", "campaign"} & request.GET.keys():
        return redirect(f"/ask/?{request.GET.urlencode()}")
    user, now = user_of(request), timezone.now()
    context: dict[str, Any] = {"switched_off": kill_switch.sentence(), "examples": []}
    if user.has_perm(SEE_HOSTS):
        context |= _hosts(user, now)
    context |= {"approvals": requests.waiting_for(user)[:UNDER_WAY_SHOWN]}
    if Campaign.objects.shows_some(user):
        context |= _campaigns(user)
    if may_launch_something(user):
        context |= _questions(user)
    return render(request, "campaigns/home.html", context)


def _hosts(user: User, now: datetime) -> dict[str, Any]:
    """Count the hosts of each platform: enrolled, online now, seen within the last day."""
    counted: dict[str, Any] = {
        line["platform"]: line
        for line in scopes.hosts_for(user)
        .enrolled()
        .order_by()
        .values("platform")
        .annotate(
            enrolled=Count("pk"),
            online=Count("pk", filter=presence_is_online(now, "presence__")),
            lately=Count("pk", filter=Q(presence__last_seen__gte=now - DAY)),
        )
    }
    platforms = [{**counted[value], "label": label} for value, label in Platform.choices if value in counted]
    totals = {name: sum(line[name] for line in platforms) for name in ("enrolled", "online", "lately")}
    told: dict[str, Any] = {"platforms": platforms, "totals": totals, "knows_hosts": True}
    if not platforms:
        told["gone"] = scopes.hosts_for(user).exclude(revoked_at=None).count()
    if scopes.is_limited(user):
        return {**told, "is_limited": True}
    return {**told, **_over_a_day(platforms, now)}


def _over_a_day(platforms: list[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """Draw who was online. It was counted of every host: nothing for who sees only some."""
    counted = online_curve.last_day(now)
    at_once = {now: {line["platform"]: line["online"] for line in platforms}} if counted else {}
    return {"curve": online_chart.draw({**counted, **at_once}, now), "box": online_chart, "counts_online": True}


def _campaigns(user: User) -> dict[str, Any]:
    open_ = Campaign.objects.visible_to(user).select_related("created_by").defer("columns").exclude(status__in=OVER)
    shown = sight.all_seen_by(open_[:UNDER_WAY_SHOWN], user)
    waiting = [campaign for campaign in shown if campaign.paused_by == ASKS and campaign.status == Status.PAUSED]
    return {
        "knows_campaigns": True,
        "waiting": waiting,
        "under_way": [(campaign, may_stop(user, campaign)) for campaign in shown if campaign not in waiting],
        "open_count": open_.count() - len(waiting),
    }


def _questions(user: User) -> dict[str, Any]:
    mine = Campaign.objects.filter(created_by=user)
    recent = sight.all_seen_by(mine[:RECENT_SHOWN], user)
    examples = EXAMPLES if len(recent) < RECENT_SHOWN and user.has_perm(LAUNCH) else ()
    queries = saved_queries(user)[:QUERIES_SHOWN]
    return {"recent": recent, "queries": queries, "examples": examples, "may_ask": True}


@needs(LAUNCH)
@require_POST
def ask_example(request: HttpRequest, number: int) -> HttpResponse:
    """Ask all hosts that are online one of the first questions, and go to the campaign."""
    if number >= len(EXAMPLES):
        return redirect("home")
    name, sql = EXAMPLES[number]
    try:
        campaign = launch(Order(sql, {"all": True, "online": True}, EXAMPLE_SECONDS, name), user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("home")
    return redirect("campaign", campaign.pk)
