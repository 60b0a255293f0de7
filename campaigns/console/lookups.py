"""What several pages look up: a campaign by its number, a page of a list, the question without its page number."""

from typing import Any

from django.contrib.auth.models import User
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from campaigns.answers import sight
from campaigns.models import Campaign

PER_PAGE = 50


def page_of(rows: Any, request: HttpRequest, count: int | None = None) -> "Page[Any]":
    """Give the page of a list that the address names, the first or last for a number beyond; `count` spares a count."""
    paginator = Paginator(rows, PER_PAGE)
    if count is not None:
        paginator.count = count  # known already: not counted again
    return paginator.get_page(request.GET.get("page"))


def question_of(request: HttpRequest) -> str:
    """Give the page's question without its page number, to build links on."""
    asked = request.GET.copy()
    asked.pop("page", None)
    return asked.urlencode()


def found_campaign(campaign_id: int, user: User) -> Campaign | None:
    """Give the campaign as this person sees it; None when there is none for him."""
    found = whole_campaign(campaign_id, user)
    return None if found is None else sight.seen_by(found, user)


def whole_campaign(campaign_id: int, user: User) -> Campaign | None:
    """Give the campaign itself, to do something to it; None when there is none for this person."""
    visible = Campaign.objects.visible_to(user).select_related("created_by", "query", "parent")
    found: Campaign | None = visible.filter(pk=campaign_id).first()
    return found


def no_such_campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Answer 404 for a campaign that there is not, or that this person may not see: which, is not told."""
    return render(request, "campaigns/missing.html", {"campaign_id": campaign_id}, status=404)
