"""The pages of hooks: where somebody wants to be told, and what became of each message."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.console.access import confirmed, needs, needs_one_of, user_of
from campaigns.console.lookups import page_of, question_of
from campaigns.hooks import keeping, notifying
from campaigns.hooks.models import Delivery, Event, Hook
from campaigns.people.roles import KEEP_HOOKS
from fleet import confirming
from fleet.errors import FleetError
from fleet.text import is_text

SEE_ALL = "campaigns.view_hook"
SHOWN = "fresh_hook_secret"  # in the session, until it was shown once


class HookForm(forms.Form):
    """Where to tell what."""

    name = forms.CharField(max_length=100, label="What it is for")
    address = forms.CharField(
        max_length=2000,
        label="Address",
        widget=forms.TextInput({"data-secret": ""}),  # often the key to a chat: no tab keeps it
        help_text="https://… of a program; for a notification the service's address, as mailtos://… or slack://…",
    )
    events = forms.MultipleChoiceField(
        choices=Event.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Told when",
        help_text="None chosen: whenever one of these happens.",
    )
    only_mine = forms.BooleanField(required=False, label="Only what I launched")

    def clean(self) -> dict[str, Any]:
        """Refuse what no text has."""
        for name in ("name", "address"):
            if not is_text(self.cleaned_data.get(name, "")):
                self.add_error(name, "this holds what no text has")
        return self.cleaned_data


class NewHookForm(HookForm):
    """The same with how it is told, which never changes."""

    kind = forms.ChoiceField(choices=Hook.Kind.choices, initial=Hook.Kind.WEBHOOK, label="How")
    field_order = ("name", "kind", "address", "events", "only_mine")


@needs_one_of(KEEP_HOOKS, SEE_ALL)
@require_http_methods(["GET", "HEAD", "POST"])
def hooks(request: HttpRequest) -> HttpResponse:
    """List them; POST makes one."""
    if request.method == "POST":
        return _make(request)
    return _list(request, NewHookForm())


def _list(request: HttpRequest, form: NewHookForm, status: int = 200) -> HttpResponse:
    user = user_of(request)
    context = {
        "page": page_of(Hook.objects.shown_to(user).with_last_try().select_related("owner"), request),
        "question": question_of(request),
        "form": form,
        "notifications_missing": "" if notifying.is_installed() else notifying.MISSING,
    }
    return render(request, "campaigns/hooks.html", context, status=status)


@confirmed
def _make(request: HttpRequest) -> HttpResponse:
    user, form = user_of(request), NewHookForm(request.POST)
    if not user.has_perm(KEEP_HOOKS):
        return render(request, "campaigns/denied.html", {"permission": KEEP_HOOKS}, status=403)
    if form.is_valid():
        try:
            hook = keeping.make(Hook(**form.cleaned_data), user)
        except FleetError as error:
            form.add_error(error.field or None, error.sentence)
        else:
            request.session[SHOWN] = {"hook": hook.pk, "secret": hook.secret}
            messages.success(request, f"The hook {hook.name} is made.")
            return redirect("hook", hook.pk)
    return _list(request, form, status=422)


@needs_one_of(KEEP_HOOKS, SEE_ALL)
@require_http_methods(["GET", "HEAD", "POST"])
def hook(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Show one with its messages; POST changes it."""
    found = _found(request, hook_id)
    if request.method == "POST":
        if found.owner_id != user_of(request).pk:
            return render(
                request,
                "campaigns/denied.html",
                {"objection": f"hook {hook_id} is {found.owner.get_username()}'s: only its owner changes it"},
                status=403,
            )
        form = HookForm({"address": found.address, **request.POST.dict(), "events": request.POST.getlist("events")})
        if form.is_valid():
            if form.cleaned_data["address"] != found.address:
                confirming.require(request)  # a new address gets all that the one before did
            try:
                keeping.change(found, form.cleaned_data, user_of(request))
            except FleetError as error:
                form.add_error(error.field if error.field in form.fields else None, error.sentence)
            else:
                messages.success(request, f"The hook {found.name} is kept.")
                return redirect("hook", found.pk)
        return _show(request, _found(request, hook_id), form, status=422)
    return _show(request, found, HookForm(initial=_values(found)))


def _values(found: Hook) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("name", "address", "events", "only_mine")}


def _show(request: HttpRequest, found: Hook, form: HookForm, status: int = 200) -> HttpResponse:
    user = user_of(request)
    fresh = request.session.get(SHOWN)
    if fresh is not None and fresh["hook"] == found.pk:
        del request.session[SHOWN]
    context = {
        "hook": found,
        "form": form,
        "is_mine": found.owner_id == user.pk,
        "may_keep": Hook.objects.kept_by(user).filter(pk=found.pk).exists(),
        "fresh": fresh["secret"] if fresh is not None and fresh["hook"] == found.pk else "",
        "wanted": [Event(event).label for event in found.events if event in Event.values],
        "page": page_of(found.deliveries.all(), request),
        "question": question_of(request),
        "waits": Delivery.State.WAITING,
    }
    return render(request, "campaigns/hook.html", context, status=status)


def _found(request: HttpRequest, hook_id: int) -> Hook:
    shown: Hook | None = Hook.objects.shown_to(user_of(request)).select_related("owner").filter(pk=hook_id).first()
    if shown is None:
        raise Http404(f"there is no hook {hook_id}, or none for you")
    return shown


def _kept(request: HttpRequest, hook_id: int) -> Hook:
    kept: Hook | None = Hook.objects.kept_by(user_of(request)).select_related("owner").filter(pk=hook_id).first()
    if kept is None:
        raise Http404(f"there is no hook {hook_id}, or none for you to change")
    return kept


# --- what is done with one -------------------------------------------------------------------------------------


@needs(KEEP_HOOKS)
@require_POST
@confirmed
def rotate(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Give it a new secret, shown on the next page, once."""
    found = _kept(request, hook_id)
    try:
        request.session[SHOWN] = {"hook": found.pk, "secret": keeping.rotate(found, user_of(request))}
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("hook", found.pk)


@needs(KEEP_HOOKS)
@require_POST
def control(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Stop, start or try it, as `to` says."""
    found, user, to = _kept(request, hook_id), user_of(request), request.POST.get("to", "")
    try:
        if to == "start":
            keeping.start(found, user)
            messages.success(request, f"The hook {found.name} is told again from now on.")
        elif to == "test":
            keeping.test(found, user)
            messages.success(request, "A message is on its way: what came of it is below in a moment.")
        else:
            keeping.stop(found, user)
            messages.success(request, f"The hook {found.name} is stopped: nothing is sent to it.")
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("hook", found.pk)


@needs(KEEP_HOOKS)
@require_POST
def delete(request: HttpRequest, hook_id: int) -> HttpResponse:
    """Delete it with what it was told."""
    found = _kept(request, hook_id)
    keeping.drop(found, user_of(request))
    messages.success(request, f"The hook {found.name} is deleted.")
    return redirect("hooks")


@needs(KEEP_HOOKS)
@require_POST
def resend(request: HttpRequest, hook_id: int, delivery_id: int) -> HttpResponse:
    """Send a message once more."""
    found = _kept(request, hook_id).deliveries.select_related("hook").filter(pk=delivery_id).first()
    if found is None:
        raise Http404(f"hook {hook_id} has no message {delivery_id}")
    try:
        keeping.send_again(found, user_of(request))
        messages.success(request, "It is sent again: what came of it is below in a moment.")
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("hook", hook_id)
