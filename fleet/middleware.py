"""Headers for every answer; and Django's own middleware, fitted: agents are let in under any name."""

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.urls import is_valid_path
from django.utils.deprecation import MiddlewareMixin

from agents.protocol.endpoints import PREFIXES
from fleet import headers, refusals
from fleet.front import PROBES
from fleet.text import is_text

RETRY_AFTER = "FLEET_RETRY_AFTER"  # in META: seconds after which a password will be looked at again


class SafeHeaders(MiddlewareMixin):
    """Outermost: whatever answers, also an error, bears the headers of all answers, unless it has its own."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add what is missing."""
        if wait := request.META.get(RETRY_AFTER):
            response.status_code = 429
            response.headers["Retry-After"] = wait
        for name, value in headers.missing(request.path, response.headers, is_secure=request.is_secure()).items():
            response.headers[name] = value
        return response


class CommonForPeople(CommonMiddleware):
    """Django's own, which refuses requests under a name that is not in ALLOWED_HOSTS; not those of agents and monitors.

    Nothing they are told depends on the name; a host that is pointed here by DNS must be able to enroll, and engines
    and load balancers ask by address whether a process lives.

    Addresses of the API are known with and without a slash at their end: a redirect would make a GET of a POST with
    many clients, and look like success.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Check the name under which people ask, and that the question is text. Raise BadRequest."""
        if request.path.startswith(PREFIXES) or request.path in PROBES:
            return None
        redirected = super().process_request(request)
        if _is_of_api(request) and not is_valid_path(request.path_info):
            request.path_info = _with_or_without_slash(request.path_info)
        elif not _is_of_api(request) and not _asks_in_text(request):
            raise BadRequest("the address holds a NUL or a lone surrogate, which no text has")
        return redirected

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Let nothing empty be shown to people."""
        return super().process_response(request, refusals.explained(request, response))

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        """Say whether Django should send people to the address with a slash; never a program."""
        return not _is_of_api(request) and super().should_redirect_with_slash(request)


def _is_of_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def _asks_in_text(request: HttpRequest) -> bool:
    return all(is_text(name) and all(map(is_text, values)) for name, values in request.GET.lists())


def _with_or_without_slash(path: str) -> str:
    """Give the other form of an address when that is one, else the address."""
    other = path[:-1] if path.endswith("/") else f"{path}/"
    return other if is_valid_path(other) else path
