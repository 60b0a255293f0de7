"""Where a request of Django's comes from."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings

from fleet.peers import Peers


@cache
def _peers() -> Peers:
    return Peers(settings.TRUSTED_PROXIES)


def address_of(meta: Mapping[str, Any]) -> str:
    """Give the address, "" when the server did not say; what a trusted proxy says of it is believed."""
    forwarded_for = str(meta.get("HTTP_X_FORWARDED_FOR", "")).encode("latin-1", "replace")
    return _peers().address_of(meta.get("REMOTE_ADDR") or "", forwarded_for)
