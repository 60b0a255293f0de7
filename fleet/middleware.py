"""Middleware of others, fitted: static files on the event loop, agents served under any name."""

from inspect import isawaitable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from agents.protocol.endpoints import PREFIXES


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
        return await answer if isawaitable(answer) else answer


class CommonForPeople(CommonMiddleware):
    """Django's own, which refuses requests under a name that is not in ALLOWED_HOSTS; but not those of agents.

    Nothing they are told depends on the name, and a host that is pointed here by DNS must be able to enroll.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Check the name under which people ask."""
        return None if request.path.startswith(PREFIXES) else super().process_request(request)
