"""What a token takes away: its owner does no more with it than a role does, on no more hosts than labels name.

Works on the object of a person that stands for one request. Django lets superusers do everything before it asks
anybody, so such an object is none any more; it must not be saved, and refuses to be.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

from django.contrib.auth.models import User

from campaigns.people import roles, scopes


def to_role(user: User, role: str) -> None:
    """Let this object do what both its person and the role may."""
    scopes.limits_of(user)  # of the person, superuser or not, before he seems to be none
    patterns, may_all = roles.patterns_of(role), user.is_active and user.is_superuser
    asked: dict[str, Any] = {name: getattr(user, name) for name in ("has_perm", "get_all_permissions")}

    def has_perm(name: str, obj: Any = None) -> bool:
        return bool(roles.chosen([name], patterns)) and (may_all or asked["has_perm"](name, obj))

    def get_all_permissions(obj: Any = None) -> set[str]:
        of_person = roles.known_permissions() if may_all else asked["get_all_permissions"](obj)
        return roles.chosen(of_person, patterns)

    def has_module_perms(app: str) -> bool:
        return any(name.startswith(f"{app}.") for name in get_all_permissions())

    user.is_superuser = user.is_staff = False
    for replaced in (has_perm, get_all_permissions, has_module_perms):
        setattr(user, replaced.__name__, replaced)
    user.save = _not_saved  # type: ignore[method-assign]


def to_labels(user: User, labels: Iterable[int]) -> None:
    """Let this object see only hosts that bear one of these labels as well; without any, none."""
    scopes.narrow(user, labels)


def is_within(role: str, other: str) -> bool:
    """Say whether a role gives nothing that the other does not."""
    known = roles.known_permissions()
    return roles.chosen(known, roles.patterns_of(role)) <= roles.chosen(known, roles.patterns_of(other))


def roles_within(user: User) -> list[str]:
    """Name the roles that give nothing which this person does not have."""
    known, has = roles.known_permissions(), user.get_all_permissions()
    return [role for role in roles.ROLES if roles.chosen(known, roles.patterns_of(role)) <= has]


def _not_saved(*args: Any, **more: Any) -> NoReturn:
    raise RuntimeError("a person narrowed by a token is not saved: he would lose what the token lacks")
