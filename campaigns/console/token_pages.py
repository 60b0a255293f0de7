"""The pages where people make and take away their own tokens of the API, and administrators look after everybody's."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.models import Label
from campaigns.console.access import needs, user_of
from campaigns.console.choices import NamedMany
from campaigns.console.in_place import asks_first
from campaigns.console.order import BY_NAME
from campaigns.people import narrowing
from campaigns.people.roles import ROLES
from campaigns.tokens import Access, ApiToken, Wanted
from fleet import audit, confirming
from fleet.counting import counted
from fleet.errors import BadInputError

SEE_ALL, REVOKE_ALL, SEE_PEOPLE = "campaigns.view_apitoken", "campaigns.delete_apitoken", "auth.view_user"
AS_OWNER = ("", "whatever I may")


class TokenForm(forms.Form):
    """What a new token is called, is good for, and how long it lives."""

    name = forms.CharField(max_length=100, label="What it is for")
    access = forms.ChoiceField(choices=Access.choices, initial=Access.READ, label="Good for")
    role = forms.ChoiceField(
        required=False,
        label="No more than",
        help_text="It may what both you and the role may.",
    )
    labels = NamedMany(
        Label.objects.order_by(*BY_NAME),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Only hosts of",
        help_text="None chosen: all hosts that you see.",
    )
    tools_may_launch = forms.BooleanField(
        required=False,
        label="Language models may launch with it",
        help_text="They use it at /mcp. Off: their tools only look.",
    )
    days = forms.IntegerField(min_value=1, max_value=3650, label="Days it lives")

    def __init__(self, user: User, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        role: Any = self.fields["role"]
        role.choices = [AS_OWNER, *((name, f"{name}: {ROLES[name]}") for name in narrowing.roles_within(user))]


@needs()
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's own; POST makes one, which is shown in the answer and never again."""
    if request.method != "POST":
        return _page(request, _new_form(request))
    form = TokenForm(user_of(request), request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    confirming.require(request)
    wanted = {**form.cleaned_data, "labels": list(form.cleaned_data["labels"]) or None}
    try:
        _, token = ApiToken.objects.make(user_of(request), Wanted(**wanted))
    except BadInputError as error:
        form.add_error(error.field, error.sentence)
        return _page(request, form, status=400)
    return _page(request, _new_form(request), token=token, status=201)


@needs(SEE_ALL)
@require_GET
def everybodys(request: HttpRequest) -> HttpResponse:
    """List everybody's, latest used first; `of` is part of an owner's name."""
    sought = request.GET.get("of", "").strip()
    found = ApiToken.objects.living().order_by("-last_used_at", "-pk")
    if sought:
        found = found.filter(user__username__icontains=sought)
    return render(request, "campaigns/all_tokens.html", {"tokens": found[:500], "sought": sought})


@needs()
@require_POST
@asks_first
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """Take one away, at once: one's own, or whose one may revoke. One that is not there is away already."""
    user = user_of(request)
    token = ApiToken.objects.filter(pk=token_id).select_related("user").first()
    is_own = token is not None and token.user_id == user.pk
    gone = token is not None and (is_own or user.has_perm(REVOKE_ALL))
    if token is not None and gone:
        token.delete()
    messages.success(request, "The token is revoked: it opens nothing any more." if gone else "It was revoked before.")
    return redirect("tokens" if is_own or not gone else "all-tokens")


@needs()
@require_POST
@asks_first
def revoke_own(request: HttpRequest) -> HttpResponse:
    """Take away all of one's own: beside signing out everywhere, which leaves them."""
    messages.success(request, f"{_revoke_all(request, user_of(request))}.")
    return redirect("account")


@needs(REVOKE_ALL)
@require_POST
@asks_first
def revoke_of(request: HttpRequest, user_id: int) -> HttpResponse:
    """Take away all of a person's."""
    person = get_object_or_404(User, pk=user_id)
    messages.success(request, f"{_revoke_all(request, person)} of {person.get_username()}.")
    return redirect("sessions" if user_of(request).has_perm(SEE_PEOPLE) else "all-tokens")


@transaction.atomic
def _revoke_all(request: HttpRequest, owner: User) -> str:
    many = ApiToken.objects.revoke_all(owner)
    audit.note("token.revoked_all", request=request, subject=f"person {owner.pk}", tokens=many)
    return f"Revoked: {counted(many, 'token')}"


def _new_form(request: HttpRequest) -> TokenForm:
    return TokenForm(user_of(request), initial={"days": settings.TOKEN_DAYS})


def _page(request: HttpRequest, form: TokenForm, status: int = 200, **more: Any) -> HttpResponse:
    context = {"form": form, "tokens": ApiToken.objects.of(user_of(request)), **more}
    return render(request, "campaigns/tokens.html", context, status=status)
