"""The kill switch: all live queries off, at once and until somebody switches them on again."""

import logging

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from agents import open_work
from campaigns.models import LiveQueries
from fleet.errors import ConflictError

logger = logging.getLogger(__name__)


def is_on() -> bool:
    """Say whether campaigns may be launched and handed out."""
    return settings.LIVE_QUERIES_ENABLED and not LiveQueries.objects.filter(enabled=False).exists()


def refuse_when_off() -> None:
    """Raise ConflictError with who switched live queries off."""
    if not settings.LIVE_QUERIES_ENABLED:
        raise ConflictError("live queries are switched off on this server (LIVE_QUERIES_ENABLED)")
    switch = LiveQueries.objects.filter(enabled=False).first()
    if switch is not None:
        reason = f": {switch.reason}" if switch.reason else ""
        raise ConflictError(f"live queries were switched off by {switch.changed_by or 'somebody'}{reason}")


def turn(by: User, reason: str, *, on: bool) -> None:
    """Turn it, in Postgres and on the board: off means that nothing is handed out from now on."""
    with transaction.atomic():
        LiveQueries.objects.update_or_create(
            pk=1, defaults={"enabled": on, "reason": reason, "changed_by": by.get_username()}
        )
        open_work.switch_off(off=not on)
    logger.warning("live queries switched %s by=%s reason=%s", "on" if on else "off", by.pk, reason)
