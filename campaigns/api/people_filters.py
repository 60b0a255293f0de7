"""People and groups that lists are narrowed by, by name."""

from typing import cast

from django.contrib.auth.models import Group, User
from rest_framework.request import Request

from fleet.errors import BadInputError


def person_in(request: Request, name: str, *, others: bool) -> User | None:
    """Give who is meant, None = not asked. Who may not look at `others` is told of nobody but himself.

    Raise BadInputError.
    """
    given = request.query_params.get(name)
    if given is None:
        return None
    people = User.objects.all() if others else User.objects.filter(pk=cast(User, request.user).pk)
    person = people.filter(username=given).first()
    if person is None:
        raise BadInputError(f"{name} {given!r} is unknown, allowed is the name of a person", name)
    return person


def group_in(request: Request, name: str) -> Group | None:
    """Give the group that is meant, None = not asked. Raise BadInputError."""
    given = request.query_params.get(name)
    group = None if given is None else Group.objects.filter(name=given).first()
    if given is not None and group is None:
        raise BadInputError(f"{name} {given!r} is unknown, allowed is the name of a group", name)
    return group
