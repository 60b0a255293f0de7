"""Which hosts a person may see, asked from below: who decides is named by the settings, as backends are."""

from importlib import import_module
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

Rows = TypeVar("Rows", bound="QuerySet[Any]")
Person = AbstractBaseUser | AnonymousUser


def within(queryset: Rows, user: Person, field: str = "host_id") -> Rows:
    """Give the rows whose host, named by `field`, this person may see; unchanged for who is not limited."""
    narrowed: Rows = _decider().within(queryset, user, field)
    return narrowed


def is_limited(user: Person) -> bool:
    """Say whether there may be hosts that this person does not see."""
    return bool(_decider().is_limited(user))


def _decider() -> Any:
    return import_module(settings.SIGHT_OF_HOSTS)
