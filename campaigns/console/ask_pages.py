"""The page to ask from: the form, what it begins with, who is meant and what it cost before."""

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.inventory import host_names, sql
from campaigns.console import picks
from campaigns.console.access import needs_to_launch, user_of
from campaigns.console.ask_beginning import Beginning
from campaigns.console.ask_form import AskForm, in_words_of_the_form
from campaigns.console.asked_before import questions, saved_queries
from campaigns.console.forms import QueryForm
from campaigns.launching import estimates
from campaigns.people import scopes
from campaigns.people.roles import SEE_HOSTS
from fleet.errors import FleetError
from fleet.text import visible

NAMED_SHOWN = 12  # hosts named one by one that are shown with what tells them apart
LONGEST_WORDS = 200  # characters of what is looked for


@needs_to_launch()
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Show the form, or launch and go to the campaign."""
    begin = Beginning(request.GET, user_of(request))
    form = AskForm(request.POST) if request.method == "POST" else AskForm(initial=begin.as_typed())
    form.by = user_of(request)
    if form.is_bound:
        launched = form.launch()
        if launched is not None:
            return redirect("campaign", launched.pk)
    context = {
        "form": form,
        "not_taken": begin.not_taken,
        "queries": saved_queries(user_of(request)),
        "asked": questions(user_of(request)),
        "estimate": _estimate(form, request) if form.is_bound else None,
        "empty_query": QueryForm(),
    }
    return render(request, "campaigns/ask.html", context, status=422 if form.is_bound else 200)


@needs_to_launch()
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
        forced = bool(form.cleaned_data.get("force"))
        text = _sql_as_typed(form)
        counted = _estimate_of(
            target, user_of(request), text, forced=forced, start_at=form.cleaned_data.get("start_at")
        )
    except FleetError as error:
        return {"error": error.sentence}
    return {**counted, "named": _named(target, request), "has_sql": bool(text)}


def _estimate_of(target: dict[str, Any], by: User, text: str, **how: Any) -> dict[str, Any]:
    """Count who is meant also while the SQL, as far as it is typed, is wrong on every host."""
    try:
        return estimates.estimate(target, by, text, **how)
    except FleetError as error:
        if error.field != "sql":
            raise
        counted = estimates.estimate(target, by, start_at=how["start_at"])
        return {**counted, "warnings": [*counted["warnings"], in_words_of_the_form(error)]}


def _named(target: dict[str, Any], request: HttpRequest) -> list[picks.FoundHost]:
    """Give hosts that are named, while they are few, with what tells two of one name apart."""
    named = target.get("hosts", [])
    if not 0 < len(named) <= NAMED_SHOWN or not request.user.has_perm(SEE_HOSTS):
        return []
    words = [name for name in named if isinstance(name, str)]
    visible = scopes.hosts_for(user_of(request))
    found = host_names.look_up([name for name in named if isinstance(name, int)], words, visible)
    return picks.told_apart(visible, found.ids, NAMED_SHOWN)


def _sql_as_typed(form: AskForm) -> str:
    """Give the SQL once it is SQL: while it is typed it mostly is not, and only launching it is an error."""
    typed: str = form.cleaned_data.get("sql", "")
    try:
        return sql.check(typed).text
    except FleetError:
        return ""


@needs_to_launch()
@require_GET
def find_targets(request: HttpRequest) -> HttpResponse:
    """Suggest platforms, labels and enrolled hosts that are like what was typed, each with its count or its facts."""
    words, among = _words(request.GET.get("find", "")), scopes.hosts_for(user_of(request))
    context: dict[str, Any] = {"words": visible(words)}
    if words:
        hosts, more = picks.hosts(among, words) if request.user.has_perm(SEE_HOSTS) else ([], False)
        context |= {"platforms": picks.platforms(among, words=words), "hosts": hosts, "more_hosts": more}
        context |= {"labels": picks.labels(user_of(request), words), "shown": picks.FOUND_OF_EACH}
    return render(request, "campaigns/_found_targets.html", context)


@needs_to_launch()
@require_POST
def find_labels(request: HttpRequest) -> HttpResponse:
    """Show the labels that are ticked and those that are like what was typed; there may be thousands."""
    field = "exclude_labels" if request.GET.get("for") == "exclude_labels" else "labels"
    picked = [name.replace("\0", "") for name in request.POST.getlist(field)]
    boxes = picks.labels(user_of(request), _words(request.POST.get(f"find_{field}", "")), picked)
    return render(request, "campaigns/_label_boxes.html", {"boxes": boxes, "field": field})


def _words(typed: str) -> str:
    return typed.replace("\0", "").strip()[:LONGEST_WORDS]
