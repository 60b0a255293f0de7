"""Which request is being served, so that verbs need not carry it along: who asks, with which token, from where."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import HttpRequest, HttpResponseBase

from fleet.addresses import address_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

_served: ContextVar[HttpRequest | None] = ContextVar("served", default=None)


class Origin(NamedTuple):
    """Who did it, None = nobody who signed in; with which token, None = a session or none; and from which address."""

    person: "AbstractBaseUser | None"
    token_id: int | None
    address: str


NOWHERE = Origin(None, None, "")


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Remember the request while it is served."""
    token = _served.set(request)
    try:
        yield
    finally:
        _served.reset(token)


class Served:
    """Middleware that remembers the request while it is served."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Let what stands behind answer."""
        with serving(request):
            return self._get_response(request)


def origin(request: Any = None) -> Origin:
    """Say where an act comes from; None = from the request that is served here, if one is."""
    asked = request if request is not None else _served.get()
    if asked is None:
        return NOWHERE
    user = getattr(asked, "user", None)
    person = user if user is not None and user.pk is not None else None
    token_id = getattr(getattr(asked, "auth", None), "pk", None)  # REST framework leaves the token at the request
    return Origin(person, token_id, address_of(asked.META))
