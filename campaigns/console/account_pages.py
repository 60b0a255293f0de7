"""How one signs in, and where one is signed in: second factors, sessions, showing again who one is."""

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.app_settings import FORMS
from allauth.mfa.base.forms import ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal.auth import begin_authentication
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from allauth.utils import get_form_class
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from campaigns.console.access import needs, signed_in, user_of
from campaigns.console.password_page import has_password, right_password
from campaigns.launching import quotas
from campaigns.tokens import ApiToken
from fleet import audit, confirming, second_factor, sessions
from fleet.coming_back import page_behind_door
from fleet.counting import counted, plural

SEE_PEOPLE, CHANGE_PEOPLE = "auth.view_user", "auth.change_user"
MOST_SHOWN = 500


@signed_in()
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Show one's second factors and sessions."""
    user = user_of(request)
    found = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    by_type = {kind: [factor for factor in found if factor.type == kind] for kind in Authenticator.Type}
    context = {
        "app": next(iter(by_type[Authenticator.Type.TOTP]), None),
        "passkeys": [factor.wrap() for factor in by_type[Authenticator.Type.WEBAUTHN]],
        "codes_left": [len(codes.wrap().get_unused_codes()) for codes in by_type[Authenticator.Type.RECOVERY_CODES]],
        "is_needed": second_factor.is_missing(user),
        "has_password": has_password(user),
        "sessions": sessions.of(user),
        "here": request.session.session_key,
        "tokens": ApiToken.objects.of(user).count(),
        "quotas": [standing.as_json() for standing in quotas.standings(user)],
    }
    return render(request, "campaigns/account.html", context)


@signed_in()
@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """End one of one's own sessions, or whose one may change; one that is not there has ended already."""
    user = user_of(request)
    row = UserSession.objects.filter(pk=session_id).first()
    if row is not None and (row.user_id == user.pk or user.has_perm(CHANGE_PEOPLE)):
        sessions.end([row])
        audit.note("session.ended", request=request, subject=f"person {row.user_id}", address=row.ip)
    messages.success(request, "The session has ended: that browser is asked to log in again.")
    return redirect("account" if row is None or row.user_id == user.pk else "sessions")


@signed_in()
@require_POST
def end_everywhere(request: HttpRequest) -> HttpResponse:
    """End all of one's sessions, this one too."""
    many = sessions.end_all(user_of(request))
    audit.note("session.ended_everywhere", request=request, subject=f"person {request.user.pk}", sessions=many)
    return redirect("login")


@needs(SEE_PEOPLE)
@require_GET
def everybodys(request: HttpRequest) -> HttpResponse:
    """Show who is signed in where, latest first; `of` is part of a name."""
    sought = request.GET.get("of", "").strip()
    tokens = ApiToken.objects.living().filter(user=OuterRef("user")).order_by().values("user")
    many = Subquery(tokens.annotate(many=Count("pk")).values("many"))
    rows = UserSession.objects.select_related("user").annotate(tokens=many)
    rows = rows.order_by("-last_seen_at")
    if sought:
        rows = rows.filter(user__username__icontains=sought)
    context = {"sessions": rows[:MOST_SHOWN], "sought": sought, "here": request.session.session_key}
    return render(request, "campaigns/sessions.html", context)


@needs(CHANGE_PEOPLE)
@require_POST
def end_sessions_of(request: HttpRequest, user_id: int) -> HttpResponse:
    """Sign a person out everywhere."""
    person = get_object_or_404(User, pk=user_id)
    many = sessions.end_all(person)
    audit.note("session.ended_everywhere", request=request, subject=f"person {person.pk}", sessions=many)
    ended = f"{counted(many, 'session')} {plural(many, 'has', 'have')} ended"
    messages.success(request, f"{person.get_username()} is signed out everywhere: {ended}. Tokens of the API stay.")
    return redirect("sessions")


# --- showing again who one is ----------------------------------------------------------------------------------


class PasswordForm(forms.Form):
    """One's own password once more."""

    password = forms.CharField(strip=False)

    def __init__(self, request: HttpRequest, data: Any) -> None:
        super().__init__(data)
        self._request = request

    def clean_password(self) -> str:
        """Give it. Raise ValidationError when it is wrong, or is not looked at after many."""
        return right_password(self._request, self.cleaned_data["password"])

    def save(self) -> None:
        """Note that it was right."""
        record_authentication(self._request, user_of(self._request), method="password", reauthenticated=True)


@signed_in()
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Take a password or a second factor, and go back to the page that asked for it."""
    form = _sent(request) if request.method == "POST" else None
    if form is not None and form.is_valid():
        form.save()
        confirming.note(request)
        audit.note("person.confirmed", request=request, subject=f"person {request.user.pk}")
        messages.success(request, confirming.THANKS)
        return HttpResponseRedirect(_next(request))
    user = user_of(request)
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    context: dict[str, Any] = {
        "errors": [sentence for listed in form.errors.values() for sentence in listed] if form is not None else [],
        "next": _next(request),
        "has_password": has_password(user),
        "openid_name": settings.OIDC_NAME
        if settings.OIDC_ISSUER and SocialAccount.objects.filter(user=user).exists()
        else "",
        "has_codes": bool(kinds & {Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES}),
    }
    if Authenticator.Type.WEBAUTHN in kinds:
        context["js_data"] = {"request_options": begin_authentication(user)}
    return render(request, "campaigns/confirm.html", context, status=400 if form is not None else 200)


def _sent(request: HttpRequest) -> Any:
    user, sent = user_of(request), request.POST
    if "code" in sent:
        return get_form_class(FORMS, "reauthenticate", ReauthenticateForm)(user=user, data=sent)
    if "credential" in sent:
        return get_form_class(FORMS, "reauthenticate_webauthn", ReauthenticateWebAuthnForm)(user=user, data=sent)
    return PasswordForm(request, sent)


def _next(request: HttpRequest) -> str:
    return page_behind_door(request) or reverse("account")
