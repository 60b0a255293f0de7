"""What stands beside the form to ask from: saved queries, to pin and to save as, and one's own questions."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from campaigns.console.access import needs, needs_to_launch, number_of, user_of
from campaigns.console.asked_before import questions, saved_queries
from campaigns.console.forms import QueryForm
from campaigns.models import PinnedQuery, Query
from campaigns.people.roles import SEE_QUERIES

ADD_QUERY = "campaigns.add_query"
LONGEST_WORDS = 200  # characters of what is looked for


def _words(request: HttpRequest) -> str:
    return request.GET.get("find", "").replace("\0", "").strip()[:LONGEST_WORDS]


@needs_to_launch()
@require_GET
def history(request: HttpRequest) -> HttpResponse:
    """Show what this person asked that is like the words typed."""
    words = _words(request)
    return render(request, "campaigns/_asked.html", {"asked": questions(user_of(request), words), "words": words})


@needs_to_launch()
@require_GET
def queries(request: HttpRequest) -> HttpResponse:
    """Show the saved queries that are like the words typed."""
    words = _words(request)
    found = saved_queries(user_of(request), words)
    return render(request, "campaigns/_saved_queries.html", {"queries": found, "words": words})


@needs(SEE_QUERIES)
@require_POST
def pin(request: HttpRequest) -> HttpResponse:
    """Pin a saved query for this person, or let it go."""
    user = user_of(request)
    if chosen := number_of(request.POST.get("pin")):
        PinnedQuery.objects.get_or_create(user=user, query=get_object_or_404(Query, pk=chosen))
    if chosen := number_of(request.POST.get("unpin")):
        PinnedQuery.objects.filter(user=user, query_id=chosen).delete()
    if not request.headers.get("HX-Request"):
        return redirect("ask")
    return render(request, "campaigns/_saved_queries.html", {"queries": saved_queries(user)})


@needs(ADD_QUERY)
@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Save the SQL under a name without leaving the page; what is wrong is said in the dialog."""
    form = QueryForm(request.POST)
    form.by = user_of(request)
    if not form.is_valid():
        return render(request, "campaigns/_save_query.html", {"form": form})
    form.instance.created_by = form.by
    form.save()
    response = render(request, "campaigns/_save_query.html", {"saved": form.instance, "form": QueryForm()})
    response["HX-Trigger"] = "query-saved"
    return response
