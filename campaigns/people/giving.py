"""Who gives roles, rights and scopes to whom: nobody gives more than he has, or touches who has more than he.

Who sees some hosts only gives nothing: he could lift his own limit by it.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import Q, QuerySet
from redis.exceptions import RedisError

from agents.models import Label
from campaigns.people import lockouts, roles, scopes
from campaigns.people.scopes import Scope
from fleet import second_factor
from fleet.audit import note
from fleet.audit.gathering import told_by_verb
from fleet.counting import counted
from fleet.errors import ConflictError, ForbiddenError

logger = logging.getLogger(__name__)


def own(user: User) -> QuerySet[Permission]:
    """Give what a person may, also what he may again once he is active."""
    if user.is_superuser:
        return Permission.objects.all()
    return Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct()


def groups_within(editor: User) -> QuerySet[Group]:
    """Give the groups that give their members nothing which the editor does not have, be it a quota."""
    if editor.is_superuser:
        return Group.objects.all()
    beyond = Group.objects.filter(permissions__in=Permission.objects.exclude(pk__in=own(editor)))
    quotas = set(settings.TARGETS_PER_CAMPAIGN_BY_GROUP) - set(editor.groups.values_list("name", flat=True))
    kept = Group.objects.filter(quotas__isnull=False).exclude(user=editor)
    return Group.objects.exclude(pk__in=beyond).exclude(name__in=quotas).exclude(pk__in=kept)


def may_touch(editor: User, other: User | Group) -> bool:
    """Say whether a person or group has nothing that the editor lacks."""
    if editor.is_superuser:
        return True
    if scopes.is_limited(editor):
        return False
    if isinstance(other, Group):
        return groups_within(editor).filter(pk=other.pk).exists()
    if other.is_superuser or own(other).exclude(pk__in=own(editor)).exists():
        return False
    return not other.groups.exclude(pk__in=groups_within(editor)).exists()


@dataclass(frozen=True)
class Given:
    """What a person has: roles, rights apart from them by their first permission, teams, and whether he may come."""

    roles: frozenset[str]
    rights: frozenset[str]
    teams: frozenset[int]
    is_active: bool

    @classmethod
    def of(cls, person: User) -> "Given":
        """Read what a person has now."""
        mine = set(person.user_permissions.values_list("pk", flat=True))
        of_right = {right.permissions[0]: roles.rows_of(right) for right in roles.APART}
        return cls(
            frozenset(person.groups.filter(name__in=roles.ROLES).values_list("name", flat=True)),
            frozenset(name for name, rows in of_right.items() if rows <= mine),
            frozenset(person.groups.exclude(scope=None).exclude(name__in=roles.ROLES).values_list("pk", flat=True)),
            person.is_active,
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as the audit keeps it."""
        teams = Group.objects.filter(pk__in=self.teams).values_list("name", flat=True)
        return {
            "roles": sorted(self.roles),
            "rights": sorted(self.rights),
            "teams": sorted(teams),
            "is_active": self.is_active,
        }


@transaction.atomic
def give(person: User, wanted: Given, by: User) -> None:
    """Let a person have this, and no other role, right apart or team. Raise ForbiddenError, nothing half-done."""
    person = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    before = Given.of(person)
    check_may_touch(by, person)
    if person.pk == by.pk:
        raise ForbiddenError("nobody gives roles, rights and teams to himself: another administrator does")
    with told_by_verb():
        _give_groups(person, before, wanted, by)
        _give_rights(person, before, wanted, by)
        if person.is_active != wanted.is_active:
            person.is_active = wanted.is_active
            person.save(update_fields=["is_active"])
    if before != wanted:
        note("rights.changed", by=by, subject=f"person {person.pk}", name=person.get_username(),
             before=before.as_json(), now=wanted.as_json())  # fmt: skip


def take_second_factors(person: User, by: User) -> int:
    """Let a person in without them who lost his telephone, also where wrong codes locked; give how many there were.

    Raise ForbiddenError.
    """
    check_may_touch(by, person)
    taken = second_factor.remove(person)
    note("second_factor.removed", by=by, subject=f"person {person.pk}", factors=taken)
    try:
        lockouts.lift_of_second_factor(person.get_username())
    except (RedisError, OSError) as error:
        logger.warning("lock of codes not lifted person=%s reason=%s", person.pk, error)
    return taken


def said_of_taking(person: User, taken: int) -> str:
    """Say what came of it."""
    name = person.get_username()
    return f"No second factor is asked of {name} any more." if taken else f"There is no second factor of {name}."


def check_may_touch(by: User, person: User) -> None:
    """Raise ForbiddenError when this editor may not change what a person has."""
    if scopes.is_limited(by):
        raise ForbiddenError("who sees some hosts only gives no rights: he could lift his own limit")
    if not may_touch(by, person):
        raise ForbiddenError(f"{person.get_username()} has rights that you lack: who has them changes that")


def _give_groups(person: User, before: Given, wanted: Given, by: User) -> None:
    named = Q(name__in=before.roles ^ wanted.roles) | Q(pk__in=before.teams ^ wanted.teams)
    changed = Group.objects.filter(named)
    beyond = changed.exclude(pk__in=groups_within(by)).first()
    if beyond is not None:
        raise ForbiddenError(f"the group {beyond.name!r} gives rights that you lack: you cannot give or take it")
    check_may_change_teams(before.teams, wanted.teams, by)
    here = set(person.groups.values_list("pk", flat=True))
    for group in changed:
        if group.pk in here:
            person.groups.remove(group)
        else:
            person.groups.add(group)


def check_may_change_teams(before: frozenset[int], wanted: frozenset[int], by: User) -> None:
    """Raise ForbiddenError when somebody would come into a team or out of one, and this editor may not do that."""
    if before != wanted and not by.has_perm(roles.CHANGE_SCOPES):
        raise ForbiddenError(f"putting people into teams needs the permission {roles.CHANGE_SCOPES}")


def _give_rights(person: User, before: Given, wanted: Given, by: User) -> None:
    mine = set(own(by).values_list("pk", flat=True))
    for right in roles.APART:
        name, rows = right.permissions[0], roles.rows_of(right)
        if name not in before.rights ^ wanted.rights:
            continue
        if not rows <= mine:
            raise ForbiddenError(f"{right.says}: you lack this right, so you cannot give or take it")
        if name in wanted.rights:
            person.user_permissions.add(*rows)
        else:
            person.user_permissions.remove(*rows)


@transaction.atomic
def keep_team(team: Group, labels: Iterable[Label], by: User) -> None:
    """Save a team, a group whose members see the hosts of these labels only. Raise ForbiddenError."""
    check_may_change_scopes(by)
    before = _team_json(team)
    with told_by_verb():
        team.save()
        scope, _ = Scope.objects.get_or_create(group=team)
        scope.labels.set(labels)
    now = _team_json(team)
    if before != now:
        action = "scope.changed" if before else "scope.made"
        note(action, by=by, subject=f"group {team.pk}", name=team.name, before=before, now=now)


def _team_json(team: Group) -> dict[str, Any]:
    """Give a team as it is kept, {} = it is not yet."""
    kept = Scope.objects.filter(group=team.pk).select_related("group").first()
    if kept is None:
        return {}
    return {"name": kept.group.name, "labels": sorted(kept.labels.values_list("name", flat=True))}


@transaction.atomic
def drop_team(team: Group, by: User) -> None:
    """Delete a team. Raise ForbiddenError, ConflictError while it has members: they would see every host."""
    check_may_change_scopes(by)
    members = team.user_set.count()
    if members:
        raise ConflictError(
            f"the team {team.name!r} has {counted(members, 'member')}, who would see every host without it:"
            " put them elsewhere"
        )
    if team.approval_rules.exists():  # of a room above, that no rule is lifted by the way
        raise ConflictError(f"the team {team.name!r} has a rule of approval, which would go with it: delete that first")
    note("scope.deleted", by=by, subject=f"group {team.pk}", before=_team_json(team), name=team.name)
    with told_by_verb():
        team.delete()


def check_may_change_scopes(by: User) -> None:
    """Raise ForbiddenError when this editor may not make, change or delete teams."""
    if not by.has_perm(roles.CHANGE_SCOPES):
        raise ForbiddenError(f"changing teams needs the permission {roles.CHANGE_SCOPES}")
    if scopes.is_limited(by):
        raise ForbiddenError("who sees some hosts only changes no teams: he could lift his own limit")
