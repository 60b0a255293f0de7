"""The page where people make and take away their own tokens of the API."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.console.access import needs, user_of
from campaigns.tokens import Access, ApiToken
from fleet import confirming


class TokenForm(forms.Form):
    """What a new token is called, is good for, and how long it lives."""

    name = forms.CharField(max_length=100)
    access = forms.ChoiceField(choices=Access.choices, initial=Access.READ)
    days = forms.IntegerField(min_value=1, max_value=3650)


@needs()
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's own; POST makes one, which is shown in the answer and never again."""
    if request.method != "POST":
        return _page(request, TokenForm(initial={"days": settings.TOKEN_DAYS}))
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    confirming.require(request)
    wanted = form.cleaned_data
    _, token = ApiToken.objects.make(user_of(request), wanted["name"], wanted["days"], wanted["access"])
    return _page(request, TokenForm(initial={"days": settings.TOKEN_DAYS}), token=token, status=201)


@needs()
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """Take one of one's own away, at once. One that is not there is away already."""
    gone, _ = ApiToken.objects.of(user_of(request)).filter(pk=token_id).delete()
    messages.success(request, "The token is revoked: it opens nothing any more." if gone else "It was revoked before.")
    return redirect("tokens")


def _page(request: HttpRequest, form: TokenForm, status: int = 200, **more: Any) -> HttpResponse:
    context = {"form": form, "tokens": ApiToken.objects.of(user_of(request)), **more}
    return render(request, "campaigns/tokens.html", context, status=status)
