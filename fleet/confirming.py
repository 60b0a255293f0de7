"""Asking again who sits there: what is dangerous wants a password or a second factor given lately, in this session.

Signing in counts. What asks: the kill switch, enroll secrets, downloads of carves, making tokens, rights and second
factors. A request with a token has no session and is not asked: nobody sits there, and what it may is the token's.
"""

import time
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.http import HttpRequest

from fleet.errors import ForbiddenError

CONFIRMED_AT = "confirmed_at"  # in the session: seconds of Unix time
THANKS = "Thank you. Nothing was done yet: please do again what you were about to do."


class NotConfirmedError(ForbiddenError):
    """Whoever sits there has to show once more who he is; pages are sent to where that is done."""


def note(request: HttpRequest, at: float | None = None) -> None:
    """Note that a person showed who he is, just now or at that moment."""
    request.session[CONFIRMED_AT] = time.time() if at is None else at


def note_later(request: HttpRequest, at: float) -> None:
    """Note that a person showed who he is at that moment, unless he did so since."""
    note(request, max(at, _confirmed_at(request)))


def is_recent(request: HttpRequest) -> bool:
    """Say whether that was lately enough."""
    minutes = settings.CONFIRM_MINUTES
    return not minutes or time.time() - _confirmed_at(request) < minutes * 60


def _confirmed_at(request: HttpRequest) -> float:
    confirmed = request.session.get(CONFIRMED_AT)
    if isinstance(confirmed, float):
        return confirmed
    row = UserSession.objects.filter(session_key=request.session.session_key).first()
    return row.created_at.timestamp() if row is not None else 0.0


def require(request: HttpRequest) -> None:
    """Raise NotConfirmedError when it was too long ago."""
    if not is_recent(request):
        minutes = settings.CONFIRM_MINUTES
        raise NotConfirmedError(
            f"this needs your password or second factor again, given within {minutes} minute{'s'[: minutes != 1]}:"
            " show at /confirm/ that it is you, then do it again"
        )


def require_in_session(request: Any) -> None:
    """Ask the same of a request to the API that a session lets in. Raise NotConfirmedError."""
    if request.auth is None and request.session.session_key is not None:
        require(request._request)
