"""The list of campaigns."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from campaigns.answers import sight
from campaigns.console.access import needs_sight_of_some, user_of
from campaigns.console.forms import HistoryForm
from campaigns.console.lookups import page_of, question_of
from campaigns.models import Campaign


@needs_sight_of_some()
@require_GET
def campaigns(request: HttpRequest) -> HttpResponse:
    """Show the history."""
    form = HistoryForm(request.GET)
    form.is_valid()
    visible = Campaign.objects.visible_to(user_of(request)).select_related("created_by").defer("columns", "target")
    page = page_of(form.narrow(visible), request)
    page.object_list = sight.all_seen_by(page.object_list, user_of(request))
    context = {
        "form": form,
        "page": page,
        "question": question_of(request),
        "under_way": any(not campaign.is_over for campaign in page),
        "is_narrowed": any(request.GET.get(name) for name in form.fields if name != "search"),
    }
    return render(request, "campaigns/campaigns.html", context)
