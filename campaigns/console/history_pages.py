"""The list of campaigns."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from campaigns.console.access import needs_sight_of_some, number_of, user_of
from campaigns.console.forms import HistoryForm
from campaigns.console.lookups import page_of, question_of
from campaigns.models import Campaign
from campaigns.states import OVER


@needs_sight_of_some()
@require_GET
def campaigns(request: HttpRequest) -> HttpResponse:
    """Show the history."""
    form = HistoryForm(request.GET)
    form.is_valid()
    page = page_of(_found(form.cleaned_data, user_of(request)), request)
    context = {
        "form": form,
        "page": page,
        "question": question_of(request),
        "under_way": any(not campaign.is_over for campaign in page),
    }
    return render(request, "campaigns/campaigns.html", context)


def _found(filters: dict[str, Any], by: User) -> QuerySet[Campaign]:
    found: QuerySet[Campaign] = Campaign.objects.visible_to(by).select_related("created_by").defer("columns", "target")
    if search := filters.get("search"):
        number = Q(pk=number_of(search.lstrip("#")))
        found = found.filter(Q(name__icontains=search) | Q(sql__icontains=search) | number)
    if filters.get("status") == "open":
        return found.exclude(status__in=OVER)
    return found.filter(status=filters["status"]) if filters.get("status") else found
