"""Who did what, when and from where: lines that are only ever added, and chained so that a missing one shows.

An app on the ground: it knows no other. Whoever does something that people answer for calls `note`, last in the
transaction that does it: both are kept, or neither.
"""

from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.http import HttpRequest

from fleet.audit import requests
from fleet.audit.cleaning import cleaned, shortened

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
