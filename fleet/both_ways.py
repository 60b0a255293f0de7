"""Middleware that goes both ways: on the event loop, where requests come in, and in a thread, as tests call Django."""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase


class BothWays:
    """Does `_answer` on the loop and `_answer_in_thread` elsewhere; both let `_get_response` answer.

    Django's own mixin takes a thread on the loop for each request, before and after.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Let what stands behind answer."""
        return self._answer(request) if iscoroutinefunction(self) else self._answer_in_thread(request)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        answer: HttpResponseBase = await self._get_response(request)
        return answer

    def _answer_in_thread(self, request: HttpRequest) -> HttpResponseBase:
        answer: HttpResponseBase = self._get_response(request)
        return answer
