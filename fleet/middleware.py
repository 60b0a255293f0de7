"""Headers for every answer; and middleware of others, fitted: files on the event loop, agents under any name."""

from collections.abc import AsyncIterator, Iterator
from inspect import isawaitable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.urls import is_valid_path
from whitenoise.middleware import WhiteNoiseMiddleware

from agents.protocol.endpoints import PREFIXES
from fleet import headers, refusals
from fleet.both_ways import BothWays
from fleet.front import PROBES
from fleet.text import is_text

RETRY_AFTER = "FLEET_RETRY_AFTER"  # in META: seconds after which a password will be looked at again


class SafeHeaders(BothWays):
    """Outermost: whatever answers, also an error, bears the headers of all answers, unless it has its own."""

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        return _completed(request, await super()._answer(request))

    def _answer_in_thread(self, request: HttpRequest) -> HttpResponseBase:
        return _completed(request, super()._answer_in_thread(request))


def _completed(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if wait := request.META.get(RETRY_AFTER):
        response.status_code = 429
        response.headers["Retry-After"] = wait
    for name, value in headers.missing(request.path, response.headers, is_secure=request.is_secure()).items():
        response.headers[name] = value
    return response


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise on the event loop. It alone is synchronous, and everything behind it would hold its thread."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Give the file, or what stands behind answers."""
        return self._answer(request) if iscoroutinefunction(self) else super().__call__(request)

    async def _answer(self, request: HttpRequest) -> Any:
        answer = super().__call__(request)
        if isawaitable(answer):
            return await answer
        answer.streaming_content = _read_beside(answer.streaming_content)
        return answer


async def _read_beside(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read a file to its end in a thread, as Django does with plain iterators, after a warning in the log."""
    yield await sync_to_async(b"".join)(pieces)


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
