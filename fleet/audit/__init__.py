"""Who did what, when and from where: lines that are only ever added, and chained so that a missing one shows.

An app on the ground: it knows no other. Whoever does something that people answer for calls `note`, last in the
transaction that does it: both are kept, or neither.
"""

from contextvars import ContextVar
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.db import connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from fleet.audit import requests
from fleet.audit.cleaning import cleaned, shortened

_written: ContextVar[int] = ContextVar("written", default=0)

if TYPE_CHECKING:  # models cannot be loaded with the package of their app
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


def note(
    action: str,
    *,
    by: "AbstractBaseUser | AnonymousUser | None" = None,
    subject: str = "",
    request: HttpRequest | Any = None,
    who: str = "",
    **details: Any,
) -> None:
    """Add a line in the caller's transaction. `action` is `thing.done`, `subject` names the thing, as `campaign 12`.

    Without `request` and `by` it is what this thread, or task of the event loop, serves, and who asks there; where
    there is neither, the machine did it. `who` stands for people that are nobody yet: a name that was typed. Details
    are what JSON can say; times become text, and what bears the name of a secret is left out.
    """
    asked = requests.origin(request)
    person = by if by is not None and by.pk is not None else asked.person
    installed.get_model("audit", "AuditEvent").objects.create(
        person_id=person.pk if person is not None else None,
        who=shortened(who or (person.get_username() if person is not None else ""), 150),
        token_id=asked.token_id,
        address=shortened(asked.address, 64),
        action=action,
        subject=shortened(subject, 200),
        details=cleaned(details),
    )
    _written.set(_written.get() + 1)


def lines_written() -> int:
    """Give how many lines this thread, or task of the event loop, has written, to be compared with later."""
    return _written.get()


def note_seldom(
    action: str, *, every: timedelta, subject: str, request: HttpRequest | Any = None, **details: Any
) -> None:
    """Add a line, unless this person or token has one of this action and subject that is not older than `every`."""
    asked, lines = requests.origin(request), installed.get_model("audit", "AuditEvent").objects
    person_id = asked.person.pk if asked.person is not None else None
    same = {"action": action, "subject": shortened(subject, 200), "person_id": person_id, "token_id": asked.token_id}
    lately = lines.filter(**same, at__gt=timezone.now() - every)
    if lately.exists():  # as nearly always, and without waiting for anybody
        return
    with transaction.atomic():
        _wait_for_others(str(same))
        if not lately.exists():
            note(action, subject=subject, request=request, **details)


def _wait_for_others(what: str) -> None:
    """Let those who would write the same line wait for each other."""
    key = int.from_bytes(sha256(what.encode()).digest()[:4], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1179403618, %s)", [key])
