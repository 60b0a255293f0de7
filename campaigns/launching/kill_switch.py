"""The kill switch: all live queries off, at once and until somebody switches them on again."""

import logging

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from redis.exceptions import RedisError

from agents.board import operator_verbs
from campaigns.launching.models import LiveQueries
from campaigns.people import scopes
from campaigns.people.roles import SWITCH
from fleet.audit import note
from fleet.errors import ConflictError, ForbiddenError

logger = logging.getLogger(__name__)

OFF = "SELECT changed_by, reason FROM campaigns_livequeries WHERE NOT enabled"  # asked at each launch and on each page


def is_on() -> bool:
    """Say whether campaigns may be launched and handed out."""
    return sentence() == ""


def sentence() -> str:
    """Say who switched live queries off, and why; "" when they are on."""
    if not settings.LIVE_QUERIES_ENABLED:
        return "live queries are switched off on this server (LIVE_QUERIES_ENABLED)"
    with connection.cursor() as cursor:
        cursor.execute(OFF)
        switch = cursor.fetchone()
    if switch is None:
        return ""
    changed_by, reason = switch
    return f"live queries were switched off by {changed_by or 'somebody'}{f': {reason}' if reason else ''}"


def refuse_when_off() -> None:
    """Raise ConflictError with who switched live queries off."""
    if refusal := sentence():
        raise ConflictError(refusal)


def follow() -> bool:
    """Let the board follow the switch, also when it was changed where the server is set up; give whether it is on."""
    LiveQueries.objects.get_or_create(pk=1)
    with transaction.atomic():
        LiveQueries.objects.select_for_update().get(pk=1)  # one at a time: the last one has read the last turn
        on = is_on()
        operator_verbs.switch_off(off=not on)
    return on


def check_may_turn(by: User) -> None:
    """Raise ForbiddenError for who lacks the permission, and for who sees some hosts only: it holds for all."""
    if not by.has_perm(SWITCH):
        raise ForbiddenError(f"switching live queries off or on needs the permission {SWITCH}")
    if scopes.is_limited(by):
        raise ForbiddenError(
            "the kill switch stops everybody's campaigns on every host, and you see some hosts only:"
            " who sees all of them turns it; your own campaigns you can stop"
        )


def objection_to(by: User) -> str:
    """Say why this person may not switch live queries off and on; "" = he may."""
    try:
        check_may_turn(by)
    except ForbiddenError as error:
        return error.sentence
    return ""


def turn(by: User, reason: str, *, on: bool) -> None:
    """Turn it, in Postgres and then on the board: off means that nothing is handed out from now on.

    Without Redis nothing is handed out anyway, so that keeps nobody from turning it; the sweep lets the board follow.
    Raise ForbiddenError.
    """
    check_may_turn(by)
    with transaction.atomic():
        LiveQueries.objects.update_or_create(
            pk=1, defaults={"enabled": on, "reason": reason, "changed_by": by.get_username()}
        )
        note(f"live_queries.{'enabled' if on else 'disabled'}", by=by, subject="live queries", reason=reason)
    logger.warning("live queries switched %s by=%s reason=%s", "on" if on else "off", by.pk, reason)
    try:
        follow()
    except RedisError as error:
        logger.warning("the board does not follow the switch yet reason=%s", error)
