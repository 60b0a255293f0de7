"""Where somebody comes back to who was sent away first: to log in, to show who he is, to send a form once more."""

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from fleet.text import is_text

DOORS = ("login", "logout", "admin-login", "admin-logout")  # with what lies below them


def page_of(request: HttpRequest) -> str:
    """Give the page to come back to: the one that is asked for, or the one with the form, or the link to a file."""
    is_page = request.method in ("GET", "HEAD") and "HX-Request" not in request.headers
    if is_page and not request.path.startswith("/api/"):
        return request.get_full_path()
    came_from = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(came_from, {request.get_host()}):
        return "/" + came_from.partition("//")[2].partition("/")[2]
    return request.get_full_path() if is_page else reverse("home")


def page_named(request: HttpRequest) -> str:
    """Give the page of this server that `next` of a form or an address names, from its root; "" = none."""
    named = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(named, {request.get_host()}, require_https=request.is_secure())
    return named if is_ours and named.startswith("/") and is_text(named) else ""


def page_behind_door(request: HttpRequest) -> str:
    """Give the same, unless it is a door: from one nobody is led to another, or to itself."""
    named = page_named(request)
    return "" if named.startswith(tuple(reverse(door) for door in DOORS)) else named
