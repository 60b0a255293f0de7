"""What stands between a session and every page: it has its times, and its owner may have to set up a second factor.

Sends on where a page cannot be shown: to signing in, to setting up, or to showing once more who one is.
"""

from typing import Any
from urllib.parse import urlencode, urlsplit

from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import Resolver404, ResolverMatch, resolve, reverse
from django.utils.deprecation import MiddlewareMixin
from django_htmx.http import HttpResponseClientRedirect

from fleet import second_factor, sessions
from fleet.addresses import address_of
from fleet.coming_back import page_of
from fleet.confirming import NotConfirmedError

SETTING_UP = (  # where one without the second factor that he needs may go
    "account",
    "confirm",
    "logout",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "openid",  # where one shows who one is who has no password
    "openid-callback",
    "prefer",
)


class SessionGuard(MiddlewareMixin):
    """Innermost, so that the session and its person are known."""

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """End a session whose time is up; send who lacks his second factor to where it is set up."""
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated:
            return None
        user, address = request.user, address_of(request.META)
        assert isinstance(user, User)  # noqa: S101 - the only model of people
        row = sessions.begin(request.session, user, address, request.META.get("HTTP_USER_AGENT", ""))
        if not sessions.look_after(row, address, by_person=_is_of_person(request)):
            sessions.end([row])
            logout(request)
            return None
        return (
            _to_setting_up(request) if second_factor.is_missing(user) and not _sets_up(request.resolver_match) else None
        )

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Send to where one shows once more who one is; what was asked is not done, nor kept."""
        if isinstance(error, NotConfirmedError | ReauthenticationRequired):
            return _to(request, "confirm", next=page_of(request)) if request.user.is_authenticated else None
        return None


def _is_of_person(request: HttpRequest) -> bool:
    """Say whether somebody sits there: open pages look by themselves for what is new."""
    looks = request.method in ("GET", "HEAD")
    return not (looks and ("HX-Request" in request.headers or request.path.startswith("/api/")))


def _sets_up(match: ResolverMatch | None) -> bool:
    return match is not None and match.url_name in SETTING_UP and not match.namespace


def _is_asked_where_one_sets_up(request: HttpRequest) -> bool:
    """Say whether it is such a page that asks, by itself."""
    try:
        return _sets_up(resolve(urlsplit(request.headers.get("HX-Current-URL", "")).path))
    except (Resolver404, ValueError):
        return False


def _to_setting_up(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        sentence = "your account needs a second factor: set it up at /account/ first"
        return JsonResponse({"error": sentence}, status=403)
    if _is_asked_where_one_sets_up(request):
        return HttpResponse(status=204)  # it has nothing to draw, and what is typed there stays
    return _to(request, "account", second_factor="needed")


def _to(request: HttpRequest, name: str, **query: str) -> HttpResponse:
    address = f"{reverse(name)}?{urlencode(query)}"
    return HttpResponseClientRedirect(address) if "HX-Request" in request.headers else HttpResponseRedirect(address)
