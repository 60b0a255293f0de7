"""Django's client on an event loop, answered as `fleet.handler` answers: each request in one thread."""

from typing import Any

from django.http import HttpResponseBase
from django.test import AsyncClient
from django.test.client import AsyncClientHandler

from fleet.handler import InThread, one_thread


class _InThread(InThread, AsyncClientHandler):
    async def __call__(self, scope: Any) -> HttpResponseBase:
        async with one_thread():
            return await super().__call__(scope)


class LoopClient(AsyncClient):
    """Asks as AsyncClient does, whose own handler has threads of its own for each middleware."""

    def __init__(self, *, enforce_csrf_checks: bool = False) -> None:
        super().__init__()
        self.handler = _InThread(enforce_csrf_checks)
