"""Who may see the console's pages, and the policy that goes with each: no script or style inline."""

from collections.abc import Callable
from functools import wraps
from secrets import token_urlsafe
from typing import Any, Concatenate, ParamSpec

from allauth.account.internal.flows.login import get_authentication_records, perform_password_login
from allauth.account.models import Login as SigningIn
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from campaigns.models import Campaign
from campaigns.people.roles import LAUNCH, LAUNCH_FLAGGED, LOOK
from fleet import audit, confirming, sessions
from fleet.coming_back import page_behind_door, page_of
from fleet.refusals import in_a_sentence, is_of_script

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

STILL_THERE = (
    "You are logged out here. At {name} you may still be logged in: who sits down at this browser next comes in without"
    " a password, unless you log out there too."
)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def with_policy(view: View[P]) -> View[P]:
    """Send the console's Content-Security-Policy along."""

    @wraps(view)
    def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        request.csp_nonce = token_urlsafe(16)  # type: ignore[attr-defined]  # for the editor's and the grid's styles
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY.format(nonce=request.csp_nonce)  # type: ignore[attr-defined]
        return response

    return answer


def needs(*permissions: str) -> Callable[[View[P]], View[P]]:
    """Let in who bears the permissions; others log in or are told which one they lack."""
    return _lets_in(lambda user, _: next((name for name in permissions if not user.has_perm(name)), ""))


def needs_one_of(*permissions: str) -> Callable[[View[P]], View[P]]:
    """Let in who bears one of the permissions; others are told the first."""
    return _lets_in(lambda user, _: "" if any(map(user.has_perm, permissions)) else permissions[0])


def needs_to_launch() -> Callable[[View[P]], View[P]]:
    """Let in who may launch something, be it saved queries that are flagged for observers; the launch says which."""
    return needs_one_of(LAUNCH, LAUNCH_FLAGGED)


def needs_sight() -> Callable[[View[P]], View[P]]:
    """Let in who may look at the campaign of the address: one's own always."""
    return _lets_in(lambda user, named: "" if Campaign.objects.shows(named["campaign_id"], user) else LOOK)


def needs_sight_of_some() -> Callable[[View[P]], View[P]]:
    """Let in who may look at some campaigns."""
    return _lets_in(lambda user, _: "" if Campaign.objects.shows_some(user) else LOOK)


def signed_in() -> Callable[[View[P]], View[P]]:
    """Let in whoever is logged in."""
    return _lets_in(lambda user, _: "")


def confirmed(view: View[P]) -> View[P]:
    """Let in who showed lately who he is; others are sent to do so."""

    @wraps(view)
    def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        confirming.require(request)
        return view(request, *args, **kwargs)

    return answer


def _lets_in(missing: Callable[[User, dict[str, Any]], str]) -> Callable[[View[P]], View[P]]:
    """Let in for whom no permission is missing, by the address."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return _to_login(request)
            permission = missing(request.user, kwargs)
            if permission and is_of_script(request):
                return in_a_sentence(f"{request.user.get_username()} lacks the permission {permission}", 403)
            if permission:
                return render(request, "campaigns/denied.html", {"permission": permission}, status=403)
            return view(request, *args, **kwargs)

        return with_policy(answer)

    return decorate


def _to_login(request: HttpRequest) -> HttpResponse:
    """Send to the log-in page, and back to the page of a form; around a fragment the page stays, and says so."""
    if is_of_script(request):
        return in_a_sentence("you are logged out: log in again", 401)
    return redirect_to_login(page_of(request))


def user_of(request: HttpRequest) -> User:
    """Give who is logged in."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - `needs` let nobody else in
    return user


class Login(LoginView):
    """The page to log in, the admin's as well: one door, behind which a second factor may be asked for."""

    template_name = "campaigns/login.html"
    redirect_authenticated_user = True
    leads_to = "home"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Send the policy along."""
        if self.leads_to == "admin:index" and request.user.is_authenticated and not request.user.is_staff:
            raise PermissionDenied("the admin is for staff, which your account is not")
        response = super().dispatch(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY.format(nonce=token_urlsafe(16))
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        """Go on to the second factor, or be signed in."""
        user, to = form.get_user(), self.get_success_url()
        credentials = {"username": user.get_username()}
        answer: HttpResponse = perform_password_login(self.request, credentials, SigningIn(user=user, redirect_url=to))
        return answer

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """Say which doors there are."""
        openid_name = settings.OIDC_NAME if settings.OIDC_ISSUER else ""
        return super().get_context_data(**more, openid_name=openid_name, takes_passwords=settings.LOCAL_PASSWORDS)

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Go where it is asked for."""
        return page_behind_door(request or self.request)

    def get_default_redirect_url(self) -> str:
        """Go home, or where the door is."""
        return reverse(self.leads_to)


class Logout(LogoutView):
    """The end of this session."""

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Go where it is asked for."""
        return page_behind_door(request or self.request)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Note it, and end it; who came by the OpenID provider may be signed in there, and is told."""
        by_openid = False
        if request.user.is_authenticated:
            by_openid = any(
                way["method"] == "socialaccount" for way in get_authentication_records(request, request.user)
            )
            audit.note("session.ended", request=request, subject=f"person {request.user.pk}")
            sessions.end(UserSession.objects.filter(session_key=request.session.session_key))
        answer = super().post(request, *args, **kwargs)
        if by_openid:
            messages.info(request, STILL_THERE.format(name=settings.OIDC_NAME))
        return answer


def number_of(text: str | None) -> int:
    """Read an id from an address; what is none is 0, which nothing bears."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else 0
