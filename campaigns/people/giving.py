"""Who gives roles, rights and scopes to whom: nobody gives more than he has, or touches who has more than he.

Who sees some hosts only gives nothing: he could lift his own limit by it.
"""

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet

from campaigns.people import scopes


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
    return Group.objects.exclude(pk__in=beyond).exclude(name__in=quotas)


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
