"""The `Idempotency-Key` of what launches: with it, an order that is sent again launches nothing new."""

from collections.abc import Callable
from typing import cast

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from campaigns.launching.once import once
from campaigns.models import Campaign
from fleet.errors import BadInputError
from fleet.text import is_text

LONGEST_KEY = 255  # characters
KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    OpenApiParameter.HEADER,
    description="255 characters at most, of your own: the same one within 24 hours launches nothing new",
)


def launched_once(request: Request, digest: str, launch: Callable[[], Campaign]) -> tuple[Campaign, bool]:
    """Launch what has this digest, or give what its key launched before; and whether it is new."""
    key = _key_in(request)
    return (launch(), True) if key is None else once(cast(User, request.user), key, digest, launch)


def _key_in(request: Request) -> str | None:
    """Give the idempotency key of a launch; None = there is none. Raise BadInputError, for an empty one as well."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not key.strip():
        raise BadInputError("Idempotency-Key is empty: without one leave the header out")
    if len(key) > LONGEST_KEY:
        raise BadInputError(f"Idempotency-Key has {len(key)} characters, allowed are {LONGEST_KEY}")
    if not is_text(key):
        raise BadInputError(f"Idempotency-Key {key!r} holds a NUL or a lone surrogate, which no text has")
    return key
