"""The pages of saved queries: SQL with a name, to be asked again, edited and shared."""

from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from campaigns.answers import sight
from campaigns.answers.models import QueryView
from campaigns.console.access import needs, user_of
from campaigns.console.asked_before import saved_queries
from campaigns.console.forms import QueryForm
from campaigns.console.lookups import page_of, question_of
from campaigns.console.order import BY_NAME
from campaigns.models import Campaign, CampaignQuerySet, Query
from campaigns.people import scopes
from campaigns.people.roles import SEE_QUERIES, may_launch_something
from campaigns.recurring import keeping
from campaigns.recurring.models import Schedule
from fleet.errors import ConflictError

ADD, CHANGE, DELETE = "campaigns.add_query", "campaigns.change_query", "campaigns.delete_query"
RUNS_SHOWN = 20


@needs(SEE_QUERIES)
@require_GET
def queries(request: HttpRequest) -> HttpResponse:
    """Show the saved queries, with how often and when they were asked last."""
    seen = Q(campaign__in=_visible(request).values("pk")) if scopes.is_limited(user_of(request)) else None
    found = Query.objects.select_related("created_by").annotate(
        runs=Count("campaign", filter=seen), asked_at=Max("campaign__created_at", filter=seen)
    )
    found = found.order_by(*BY_NAME)
    search = request.GET.get("search", "").replace("\0", "").strip()
    if search:
        found = found.filter(Q(name__icontains=search) | Q(sql__icontains=search) | Q(description__icontains=search))
    context = {"page": page_of(found, request), "search": search, "question": question_of(request)}
    return render(request, "campaigns/queries.html", context)


@needs(SEE_QUERIES)
@require_http_methods(["GET", "HEAD", "POST"])
def query(request: HttpRequest, query_id: int) -> HttpResponse:
    """Show a saved query and its runs; POST changes it."""
    shown = get_object_or_404(Query.objects.select_related("created_by"), pk=query_id)
    form = _form(request, shown)
    if form.is_bound and not request.user.has_perm(CHANGE):
        return render(request, "campaigns/denied.html", {"permission": CHANGE}, status=403)
    if form.is_bound and form.is_valid():
        form.save()
        messages.success(request, f"The query {form.instance.name} is kept.")
        return redirect("query", shown.pk)
    of_it = _visible(request).select_related("created_by").filter(query=shown)[:RUNS_SHOWN]
    runs = sight.all_seen_by(of_it, user_of(request))
    context = {
        "query": shown,
        "form": form,
        "may_change": request.user.has_perm(CHANGE),
        "may_run": saved_queries(user_of(request)).filter(pk=shown.pk).exists() and may_launch_something(request.user),
        "runs": runs,
        "schedules": Schedule.objects.shown_to(user_of(request)).filter(query=shown).select_related("owner", "query"),
        "views": shown.views.select_related("created_by"),
    }
    return render(request, "campaigns/query.html", context, status=422 if form.is_bound else 200)


def _visible(request: HttpRequest) -> CampaignQuerySet:
    visible: CampaignQuerySet = Campaign.objects.visible_to(user_of(request))
    return visible


def _form(request: HttpRequest, shown: Query | None) -> QueryForm:
    initial = {"sql": request.GET.get("sql", "")} if shown is None else None
    form = QueryForm(request.POST if request.method == "POST" else None, instance=shown, initial=initial)
    form.by = user_of(request)
    return form


@needs(ADD)
@require_http_methods(["GET", "HEAD", "POST"])
def new_query(request: HttpRequest) -> HttpResponse:
    """Save SQL with a name."""
    form = _form(request, None)
    if form.is_bound and form.is_valid():
        form.instance.created_by = user_of(request)
        form.save()
        messages.success(request, f"The query {form.instance.name} is saved.")
        return redirect("query", form.instance.pk)
    return render(request, "campaigns/new_query.html", {"form": form}, status=422 if form.is_bound else 200)


@needs(DELETE)
@require_POST
def delete_query(request: HttpRequest, query_id: int) -> HttpResponse:
    """Delete a saved query and its schedules; campaigns that came of it stay."""
    shown = get_object_or_404(Query, pk=query_id)
    try:
        keeping.drop_query(shown, user_of(request))
    except ConflictError as error:
        messages.error(request, error.sentence)
        return redirect("query", query_id)
    messages.success(request, f"The query {shown.name} is deleted. Campaigns that came of it stay.")
    return redirect("queries")


@needs(CHANGE)
@require_POST
def delete_view(request: HttpRequest, query_id: int, view_id: int) -> HttpResponse:
    """Delete an analysis that is kept with a saved query."""
    view = get_object_or_404(QueryView, pk=view_id, query_id=query_id)
    view.delete()
    messages.success(request, f"The view {view.name} is deleted.")
    return redirect("query", query_id)
