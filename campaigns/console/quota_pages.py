"""The pages of quotas, beside those of people: how much a person, or each member of a group, may launch and keep."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.console.access import confirmed, needs, user_of
from campaigns.console.choices import Named
from campaigns.console.lookups import page_of, question_of
from campaigns.console.order import BY_NAME
from campaigns.launching import quotas as verbs
from campaigns.launching.models import Quota
from campaigns.people.roles import SEE_QUOTAS
from fleet.errors import FleetError

ADD, CHANGE, DELETE = (f"campaigns.{verb}_quota" for verb in ("add", "change", "delete"))
MOST = {"open_campaigns": 2**31 - 1, "hosts_per_hour": 2**31 - 1, "rows_kept": 2**63 - 1}


class QuotaForm(forms.Form):
    """The limits, each empty for what holds for everybody."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, words in verbs.WORDS.items():
            given = getattr(settings, verbs.SETTINGS[name])
            self.fields[name] = forms.IntegerField(
                required=False,
                min_value=0,
                max_value=MOST[name],
                label=words.capitalize(),
                help_text=f"Empty: as for everybody, {f'{given:,}' if given else 'any number'}. 0: any number.",
            )

    def apply_to(self, quota: Quota) -> bool:
        """Write what was given into the row; False = it is none that is kept, which the form says."""
        for name in Quota.NAMES:
            setattr(quota, name, self.cleaned_data[name])
        try:
            quota.validate_constraints()
        except ValidationError as error:
            self.add_error("person" if quota.person_id else "group", error.messages)  # both are of a new one alone
        return not self.errors


class NewQuotaForm(QuotaForm):
    """The same with whose they are, which stays."""

    group = Named(
        Group.objects.order_by(*BY_NAME), required=False, empty_label="no group: one person", label="Of each member of"
    )
    person = forms.CharField(required=False, max_length=150, label="Or of one person", help_text="The name to sign in.")

    def clean_person(self) -> User | None:
        """Find who bears the name."""
        name = self.cleaned_data["person"]
        found = User.objects.filter(username=name).first() if name else None
        if name and found is None:
            raise forms.ValidationError(f"nobody is called {name!r}: give the name with which the person signs in")
        return found

    def clean(self) -> dict[str, Any]:
        """Ask for one of both."""
        given = self.cleaned_data
        if "person" in given and (given.get("group") is None) == (given["person"] is None):
            self.add_error("group", "Give either a group or a person.")
        return given

    def apply_to(self, quota: Quota) -> bool:
        """Write whose they are as well."""
        quota.group, quota.person = self.cleaned_data["group"], self.cleaned_data["person"]
        return super().apply_to(quota)


# --- pages -----------------------------------------------------------------------------------------------------


@needs(SEE_QUOTAS)
@require_http_methods(["GET", "HEAD", "POST"])
def quotas(request: HttpRequest) -> HttpResponse:
    """List them; POST makes a row."""
    if request.method == "POST":
        return _make(request)
    return _list(request, NewQuotaForm())


def _list(request: HttpRequest, form: NewQuotaForm, status: int = 200) -> HttpResponse:
    found = Quota.objects.select_related("group", "person").order_by("group__name", "person__username")
    context = {
        "page": page_of(found, request),
        "question": question_of(request),
        "form": form,
        "of_everybody": [(words, getattr(settings, verbs.SETTINGS[name])) for name, words in verbs.WORDS.items()],
    }
    return render(request, "campaigns/quotas.html", context, status=status)


@needs(ADD)
@confirmed
def _make(request: HttpRequest, /) -> HttpResponse:
    form, quota = NewQuotaForm(request.POST), Quota()
    if not form.is_valid() or not form.apply_to(quota):
        return _list(request, form, status=422)
    try:
        verbs.keep(quota, user_of(request))
    except FleetError as error:
        form.add_error(None, error.sentence)
        return _list(request, form, status=error.status)
    messages.success(request, f"The {quota} are kept. They hold from the next launch on.")
    return redirect("quotas")


@needs(SEE_QUOTAS)
@require_http_methods(["GET", "HEAD", "POST"])
def quota(request: HttpRequest, quota_id: int) -> HttpResponse:
    """Show a row; POST changes it."""
    found = _found(quota_id)
    if request.method == "POST":
        return _change(request, found)
    return _show(request, found, QuotaForm(initial=found.as_json()))


@needs(CHANGE)
@confirmed
def _change(request: HttpRequest, /, found: Quota) -> HttpResponse:
    form = QuotaForm(request.POST)
    if not form.is_valid() or not form.apply_to(found):
        return _show(request, found, form, status=422)
    try:
        verbs.keep(found, user_of(request))
    except FleetError as error:
        form.add_error(None, error.sentence)
        return _show(request, found, form, status=error.status)
    messages.success(request, f"The {found} are kept. They hold from the next launch on.")
    return redirect("quota", found.pk)


def _show(request: HttpRequest, found: Quota, form: QuotaForm, status: int = 200) -> HttpResponse:
    user = user_of(request)
    context = {
        "quota": found,
        "form": form if user.has_perm(CHANGE) else None,
        "may_delete": user.has_perm(DELETE),
        "limits": [(words, getattr(found, name)) for name, words in verbs.WORDS.items()],
        "standing": verbs.standings(found.person) if found.person else [],
    }
    return render(request, "campaigns/quota.html", context, status=status)


@needs(DELETE)
@require_POST
@confirmed
def delete_quota(request: HttpRequest, quota_id: int) -> HttpResponse:
    """Delete a row: what holds for everybody holds again."""
    found = _found(quota_id)
    try:
        verbs.drop(found, user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("quota", quota_id)
    messages.success(request, f"The {found} are deleted: what holds for everybody holds again.")
    return redirect("quotas")


def _found(quota_id: int) -> Quota:
    return get_object_or_404(Quota.objects.select_related("group", "person"), pk=quota_id)
