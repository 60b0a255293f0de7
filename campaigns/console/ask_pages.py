"""The page to ask from: the form, who is meant and what it cost before, hosts by name."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.inventory import sql
from agents.models import Host, Label
from campaigns.console.access import LAUNCH, SEE_HOSTS, SEE_QUERIES, needs, number_of, user_of
from campaigns.console.forms import AskForm
from campaigns.launching import estimates
from campaigns.models import Campaign, Query
from fleet.errors import FleetError

HOSTS_FOUND = 12


@needs(LAUNCH)
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Show the form, or launch and go to the campaign."""
    form = AskForm(request.POST) if request.method == "POST" else AskForm(initial=_begin_with(request))
    if form.is_bound:
        launched = form.launch(user_of(request))
        if launched is not None:
            return redirect("campaign", launched.pk)
    context = {
        "form": form,
        "queries": _queries(request),
        "recent": Campaign.objects.filter(created_by=user_of(request))[:5],
        "estimate": _estimate(form, request) if form.is_bound else None,
    }
    return render(request, "campaigns/ask.html", context, status=422 if form.is_bound else 200)


def _queries(request: HttpRequest) -> QuerySet[Query]:
    """Give the saved queries that this person may look at."""
    return Query.objects.all() if request.user.has_perm(SEE_QUERIES) else Query.objects.none()


def _begin_with(request: HttpRequest) -> dict[str, Any]:
    """Take over the SQL of a saved query or an earlier campaign. Never its target: that is chosen each time."""
    host = Host.objects.enrolled().filter(pk=number_of(request.GET.get("host"))).first()
    if host is not None and request.user.has_perm(SEE_HOSTS):
        return {"kind": "hosts", "hosts": f"#{host.pk}\n"}
    if text := request.GET.get("sql", "").replace("\0", ""):
        return {"sql": text}
    label = Label.objects.filter(pk=number_of(request.GET.get("label"))).first()
    if label is not None:
        return {"kind": "labels", "labels": [label.name]}
    query = _queries(request).filter(pk=number_of(request.GET.get("query"))).first()
    if query is not None:
        return {"sql": query.sql, "name": query.name, "query": query.pk}
    visible = Campaign.objects.visible_to(user_of(request))
    earlier = visible.filter(pk=number_of(request.GET.get("campaign"))).first()
    if earlier is not None:
        return {"sql": earlier.sql, "name": earlier.name, "reason": earlier.reason, "query": earlier.query_id}
    return {}


@needs(LAUNCH)
@require_POST
def estimate(request: HttpRequest) -> HttpResponse:
    """Say how many hosts the selection means now."""
    return render(request, "campaigns/_estimate.html", {"estimate": _estimate(AskForm(request.POST), request)})


def _estimate(form: AskForm, request: HttpRequest) -> dict[str, Any]:
    form.is_valid()  # only the target is read; the rest may still be wrong
    target = form.target()
    if not target or not any(target.values()):
        return {"nothing_chosen": True}
    try:
        return _estimate_of(target, user_of(request), _sql_as_typed(form), forced=bool(form.cleaned_data.get("force")))
    except FleetError as error:
        return {"error": error.sentence}


def _estimate_of(target: dict[str, Any], by: User, text: str, *, forced: bool) -> dict[str, Any]:
    """Count who is meant also while the SQL, as far as it is typed, is wrong on every host."""
    try:
        return estimates.estimate(target, by, text, forced=forced)
    except FleetError as error:
        if error.field != "sql":
            raise
        counted = estimates.estimate(target, by)
        return {**counted, "warnings": [*counted["warnings"], error.sentence]}


def _sql_as_typed(form: AskForm) -> str:
    """Give the SQL once it is SQL: while it is typed it mostly is not, and only launching it is an error."""
    typed: str = form.cleaned_data.get("sql", "")
    try:
        return sql.check(typed).text
    except FleetError:
        return ""


@needs(LAUNCH, SEE_HOSTS)
@require_GET
def find_hosts(request: HttpRequest) -> HttpResponse:
    """Suggest enrolled hosts whose hostname begins with what was typed."""
    typed = request.GET.get("find", "").strip()
    found = Host.objects.enrolled().filter(hostname__istartswith=typed) if typed else Host.objects.none()
    hosts = found.select_related("presence").order_by("hostname")[: HOSTS_FOUND + 1]
    now = timezone.now()
    context = {
        "typed": typed,
        "hosts": [(host, host.is_online(now)) for host in hosts[:HOSTS_FOUND]],
        "more": len(hosts) > HOSTS_FOUND,
    }
    return render(request, "campaigns/_found_hosts.html", context)
